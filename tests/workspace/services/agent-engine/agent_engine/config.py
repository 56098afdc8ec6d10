"""What the platform says in the environment."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Settings:
    redis_address: str
    redis_password: str = field(default="", repr=False)
    service: str = "agent-engine"
    port: int = 8080
    max_steps: int = 12
    # Services that this one calls, and systems that make it better: it works without either.
    services: dict[str, str] = field(default_factory=dict)
    optional: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, env) -> "Settings":
        if not env.get("REDIS_ADDR"):
            raise ValueError("REDIS_ADDR is not set")
        services = {
            "model-adapter": env.get("MODEL_ADAPTER_URL"),
            "rag-engine": env.get("RAG_ENGINE_URL"),
            "retrieval-service": env.get("RETRIEVAL_SERVICE_URL"),
        }
        optional = {"nacos": env.get("NACOS_ADDR")}
        return cls(
            redis_address=env["REDIS_ADDR"],
            redis_password=env.get("REDIS_PASSWORD", ""),
            service=env.get("SERVICE_NAME", "agent-engine"),
            port=int(env.get("PORT", "8080")),
            max_steps=int(env.get("MAX_STEPS", "12")),
            services={name: url.rstrip("/") for name, url in services.items() if url},
            optional={name: address for name, address in optional.items() if address},
        )
