"""A training step and an evaluation in the manner of the released MSE-Adapter code, written by us.

What makes it slow is what the released code does: every text is padded to the dataset's longest inside
the prompt, no attention mask is passed, logits of the whole vocabulary are computed at every position,
evaluation generates token by token. Backbone and adapter modules are the ones msakit uses.
"""
