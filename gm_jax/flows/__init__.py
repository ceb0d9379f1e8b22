"""Invertible layers, from data to features, and the density that they make of a standard normal.

A transform (`transform.Transform`) has `forward_and_log_det(x, context)` and
`inverse_and_log_det(y, context)`. A flow is a value: `Chain([...])` of transforms, itself one.
"""
