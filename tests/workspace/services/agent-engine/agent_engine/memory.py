"""Agents and their runs in Redis."""

import json

import redis


class Memory:
    def __init__(self, address, password):
        host, port = address.rsplit(":", 1)
        self.redis = redis.Redis(
            host=host,
            port=int(port),
            password=password or None,
            decode_responses=True,
            socket_timeout=2,
            socket_connect_timeout=2,
        )

    def ping(self):
        return "PONG" if self.redis.ping() else "no answer"

    def create(self, name, goal):
        agent = {"id": self.redis.incr("agents:last"), "name": name, "goal": goal}
        self.redis.hset("agents", agent["id"], json.dumps(agent))
        return agent

    def all(self):
        agents = [json.loads(text) for text in self.redis.hvals("agents")]
        return sorted(agents, key=lambda agent: -agent["id"])[:50]

    def get(self, number):
        text = self.redis.hget("agents", number)
        return json.loads(text) if text else None

    def remember(self, number, plan):
        key = f"agents:{number}:runs"
        self.redis.lpush(key, json.dumps(plan))
        self.redis.ltrim(key, 0, 9)
        return self.redis.llen(key)
