import unittest

from agent_engine import health, planner
from agent_engine.config import Settings
from agent_engine.server import Service


class InMemory:
    def __init__(self):
        self.agents, self.runs = {}, {}

    def create(self, name, goal):
        agent = {"id": len(self.agents) + 1, "name": name, "goal": goal}
        self.agents[agent["id"]] = agent
        return agent

    def all(self):
        return list(self.agents.values())

    def get(self, number):
        return self.agents.get(number)

    def remember(self, number, plan):
        self.runs.setdefault(number, []).append(plan)
        return len(self.runs[number])


def service(redis_up=True):
    def ask():
        if not redis_up:
            raise ConnectionError("refused")
        return "PONG"

    checks = [("redis", "redis", "r:1", False, ask), ("nacos", "nacos", "n:1", True, health.tcp("127.0.0.1:1"))]
    return Service(Settings(redis_address="r:1", max_steps=3), InMemory(), health.Board(checks))


class ServiceTest(unittest.TestCase):
    def test_an_agent_is_made_plans_and_remembers(self):
        s = service()
        self.assertEqual(s.post("/api/v1/agents", {"name": "a"})[1], 400)
        self.assertEqual(s.post("/api/v1/agents", {"name": "a", "goal": "b"})[1], 201)
        self.assertEqual(s.get("/api/v1/agents/1")[2]["plan"][0], "understand: b")
        self.assertEqual(len(s.post("/api/v1/agents/1/runs", {})[2]["plan"]), 3)
        self.assertEqual(s.post("/api/v1/agents/1/runs", {})[2]["runs"], 2)
        self.assertEqual(s.get("/api/v1/agents/2")[1], 404)

    def test_optional_dependencies_do_not_count(self):
        _, status, body = service().get("/ready")
        self.assertEqual((status, body["runsWithout"]), (200, ["nacos"]))
        self.assertEqual(service(redis_up=False).get("/ready")[1], 503)

    def test_pages_are_escaped(self):
        self.assertIn("&lt;b&gt;", planner.page([{"name": "<b>", "goal": "x"}]))

    def test_settings_name_what_is_missing(self):
        with self.assertRaisesRegex(ValueError, "REDIS_ADDR"):
            Settings.read({})
        settings = Settings.read({"REDIS_ADDR": "r:1", "REDIS_PASSWORD": "hush", "MODEL_ADAPTER_URL": "http://m/"})
        self.assertEqual(settings.services, {"model-adapter": "http://m"})
        self.assertNotIn("hush", repr(settings))


if __name__ == "__main__":
    unittest.main()
