"""Invertible layers from data to features, and the density that they define with a normal prior.

A transform (`transform.Transform`) has `forward_and_log_det(x, context)` and
`inverse_and_log_det(y, context)`. A flow is a `Chain([...])` of transforms, itself a transform.
"""
