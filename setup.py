from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["amcsim", "amcsim.*"]), "amcsim.circuits", "amcsim.calibration"])
