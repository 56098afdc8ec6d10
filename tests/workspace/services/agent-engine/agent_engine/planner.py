"""From a goal to steps, by a template."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, select_autoescape

TOOLS = ["search", "retrieve", "answer"]

environment = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=select_autoescape(["html.j2"]),
    trim_blocks=True,
    # A changed template is seen with the next request: no restart is needed for it.
    auto_reload=True,
)


def plan(agent, max_steps):
    text = environment.get_template("plan.txt.j2").render(agent=agent, tools=TOOLS)
    steps = [line.strip() for line in text.splitlines() if line.strip()]
    return steps[:max_steps]


def page(agents):
    return environment.get_template("page.html.j2").render(agents=agents)
