"""From a checkout to what PyPI gets: built twice, checked, installed alone, and talked with."""
