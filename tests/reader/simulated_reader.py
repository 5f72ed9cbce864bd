"""A reader at a browser whose taste is known: reads every case that is shown, by the keyboard, and may leave in the middle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ITEMS = ("overall_quality", "snr")
SPREAD = 0.7
"""Of the cases' latent quality."""
CUTS = (-1.0, 0.0, 1.0)
"""Of the latent quality: below the first it's poor, above the last excellent."""


@dataclass(frozen=True, kw_only=True)
class Taste:
    """How a simulated reader grades: latent quality of the case + effect of the arm + bias + noise, cut into four grades."""

    bias: float
    noise: float
    effect: dict[str, float]
    seed: int

    def grades(self, case: str, arm: str, repeat: int) -> list[int]:
        """Return the grades of one presentation, the same ones whenever it's asked for."""
        number = int.from_bytes(case.encode()[-4:], "little")
        latent = np.random.default_rng(number).normal(0, SPREAD)
        own = np.random.default_rng((self.seed, number, sorted(self.effect).index(arm), repeat))
        return [1 + int(np.searchsorted(CUTS, latent + self.effect[arm] + self.bias + own.normal(0, self.noise))) for _ in ITEMS]


def planted(tastes: Sequence[Taste], arm: str, n: int = 200_000) -> NDArray[np.int64]:
    """Return the grades of so many cases by every reader, (reader, case): what is true of a study, but for chance."""
    generator = np.random.default_rng(0)
    latent = generator.normal(0, SPREAD, n)
    return np.stack([1 + np.searchsorted(CUTS, latent + one.effect[arm] + one.bias + generator.normal(0, one.noise, n)) for one in tastes])


@dataclass
class SimulatedReader:
    """Somebody in front of Chromium."""

    browser: Any
    address: str
    name: str
    password: str
    answers: Callable[[str], list[int]]
    """Key of a presentation → grades."""
    n_read: int = 0

    def read(self, *, crash_at: int | None = None, shoot: Callable[[Any, str], None] = lambda view, name: None) -> bool:
        """Read until nothing is left; False if the browser died after `crash_at` cases, in the middle of the next."""
        context = self.browser.new_context(viewport={"width": 1600, "height": 900})
        view = context.new_page()
        view.set_default_timeout(15_000)
        try:
            self._log_in(view)
            shoot(view, f"{self.name}-sessions-{self.n_read}")
            while view.get_by_role("link", name="Start").or_(view.get_by_role("link", name="Continue")).count():
                view.get_by_role("link", name="Start").or_(view.get_by_role("link", name="Continue")).first.click()
                while "/read/" in view.url:
                    if not self._case(view, stop=self.n_read == crash_at, shoot=shoot):
                        return False
                view.goto(f"{self.address}/")
            return True
        finally:
            context.close()

    def _log_in(self, view: Any) -> None:
        view.goto(f"{self.address}/login")
        view.get_by_label("User").fill(self.name)
        view.get_by_label("Password").fill(self.password)
        view.get_by_role("button", name="Log in").click()
        view.get_by_text("Your sessions").wait_for()

    def _case(self, view: Any, *, stop: bool, shoot: Callable[[Any, str], None]) -> bool:
        """Read one case; False if the browser dies after its first answer."""
        address = view.url
        view.wait_for_selector(".all-images")
        grades = self.answers(address.rsplit("/", 1)[1])
        given = view.locator("input[type=radio]:checked").count()
        for grade in grades[given:]:
            view.keyboard.press(str(grade))
            if stop:
                view.locator("#saved.good").wait_for()
                return False
        if self.n_read in (0, 7):
            shoot(view, f"{self.name}-case-{self.n_read}")
        view.wait_for_function("document.activeElement.id === 'finish'")
        view.keyboard.press("Enter")
        view.wait_for_url(lambda url: url != address)
        self.n_read += 1
        return True
