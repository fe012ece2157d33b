"""Container images: building those of `images/`, even without a registry, and trying them as a cluster would."""
