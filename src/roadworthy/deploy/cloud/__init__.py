"""Clouds: a provider makes a machine and what it needs; what runs on it comes by SSH, as anywhere.

A provider is one folder behind `roadworthy.deploy.cloud.provider.Provider`.
"""
