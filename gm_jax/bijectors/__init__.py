"""Invertible layers, one a file; `forward` maps data to features.

Every bijector has two methods, and composes with any other:
`forward_and_log_det(x, train)` -> (y, ln|det ∂y/∂x| [B]), and
`inverse_and_log_det(y)` -> (x, ln|det ∂x/∂y| [B]).

Where there are batch statistics, `train` normalises by those of the global batch and updates the
running ones (collection `batch_stats`, which must be mutable).
The inverse has only the running ones: the statistics of the batch that it should give back are not
known to it. So forward ∘ inverse is the identity with `train=False`, the mode that is evaluated.
"""
