"""Prediction on images of any size: what ``mmseg-semi predict`` and ``mmseg-semi rank`` are made of.

- ``tiles``: overlapping tiles, their weights, and class probabilities of finished rows.
- ``models``: finds a model's config and checkpoint, and builds the network.
- ``sources``: images as files, arrays and GeoTIFFs, whole or by windows.
- ``predictor``: from an image to labels and confidence, row by row.
- ``outputs``: masks, overlays, confidence and areas as files.
- ``geo``: GeoTIFFs, read and written by windows.
- ``coco``: predictions as COCO annotations.
- ``video``: frames of a video.
- ``ranking``: uncertainty and diversity of unlabelled images.
"""
