from tests.registry.conftest import aws, moto_server

__all__ = ["aws", "moto_server"]
