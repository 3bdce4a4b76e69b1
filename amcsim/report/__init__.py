"""Pages: what a demo or a calibration found, as one self-contained HTML file each.

Public are the names in `__all__` of: demo, calibration.
"""
