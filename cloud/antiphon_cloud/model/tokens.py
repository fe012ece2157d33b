"""Tokens that mean something beside what they say. Without torch: both processes of a worker have them."""

NEW_WORD = 0  # the text token by which a model ends its padding: a word may begin
ZERO = -1  # embeds to a vector of zeros: a stream that says nothing
UNGENERATED = -2  # in place of a token that is not known, or in place of a forced one: what is drawn

FORCED_TEXT = 2  # forced tokens of a step that are the text's: in place of a drawn `NEW_WORD`, and of any other
