"""Pages: what a demo or a calibration found, as one self-contained HTML file each."""
