"""The training: plan -> batch -> draw -> compare -> step, with held-out measures and checkpoints on the way."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader

from backend.protocol.avatar_file import write_atomically
from backend.protocol.errors import AvatarFileError
from backend.rig import Rig, load_rig

from . import checkpoint
from .config import TrainingConfig
from .data.batch import Batch, Pairs, Schedule, collate
from .data.sources import open_footage, parted
from .data.view import Footage
from .errors import TrainingError
from .held_out import Measures, held_out_samples, load_measures, measure
from .journal import Journal, draw_curves
from .learners import Learner, half_precision, make_learner
from .losses import Drawn, total_loss
from .perceptual import load_perceptual_loss
from .processes import Processes, joined
from .schedule import Plan

Progress = Callable[[int, int, dict[str, float]], None]
CHECKPOINTS, BEST, MODEL = "checkpoints", "best.safetensors", "model.safetensors"


@dataclass(frozen=True)
class Outcome:
    """Where the weights are, the last held-out values, and how many steps are done."""

    model: Path
    values: dict[str, float]
    steps: int


def train(
    config: TrainingConfig, folder: Path, *, resume: bool = False, stop_after: int | None = None,
    progress: Progress = lambda step, steps, values: None, report: Callable[[str], None] = lambda line: None,
) -> Outcome:  # fmt: skip
    """Train, or go on.

    Args:
        folder: of the run: checkpoints, log.jsonl, curve.png, held_out.png, TensorBoard's files, best and last weights.
        resume: go on from the last checkpoint; without one, start. Otherwise the folder must not hold checkpoints.
        stop_after: stop with a checkpoint when so many steps of the training are done.
        progress: called after each step by the first process; what it raises ends the work, and the last checkpoint stays.

    Raises:
        TrainingError: configuration or checkpoint that do not fit; a loss that is not finite (the last good checkpoint is named).
        DataError, RigError, WeightsError: what it needs is missing or broken.
    """
    with joined(config.device) as processes:
        if config.threads:
            torch.set_num_threads(config.threads)
        return _Run(config, folder, processes, resume, progress, report).go(stop_after or config.steps)


class _Run:
    """One process' part in a run."""

    def __init__(self, config: TrainingConfig, folder: Path, processes: Processes, resume: bool, progress: Progress, report) -> None:
        self.config, self.folder, self.processes, self.progress, self.report = config, folder, processes, progress, report
        state = checkpoint.load(folder / CHECKPOINTS, config.fixed())
        if state is not None and not resume:
            raise TrainingError(f"{folder}: a run of {state.step} steps is there", "go on with --resume, or choose another --output")
        if state is not None and state.world != processes.world:
            raise TrainingError(
                f"{folder}: was trained by {state.world} processes, not {processes.world}", "start as many: the samples depend on it"
            )
        # All processes start from the same weights; then each has its own stream for dropout.
        torch.manual_seed(config.seed)
        rig = load_rig(config.rig)
        self.learner: Learner = make_learner(config, rig).to(processes.device)
        if config.precision == "bf16" and _has_bf16(processes.device):
            half_precision(self.learner, processes.device)
        self.perceptual: nn.Module | None = load_perceptual_loss().to(processes.device) if config.loss.perceptual else None
        self.learned, self.kept_out = _pairs(config, rig, report)
        self.measures = load_measures(rig, config.held_out.landmarks) if processes.first else Measures()
        rate = config.optimiser
        self.optimiser = torch.optim.Adam(self.learner.groups(rate), rate.rate, (rate.beta1, rate.beta2))
        self.plan = Plan(config)
        self.schedule = LambdaLR(self.optimiser, self.plan.rate)
        self.model: nn.Module = self.learner
        if processes.world > 1:
            # Heads of levels that a step does not draw take no part in it.
            self.model = DistributedDataParallel(self.learner, find_unused_parameters=True)
        self.step, self.best = 0, float("-inf")
        torch.manual_seed(config.seed * 1_000_003 + processes.rank)
        if state is not None:
            self._restore(state)
        if processes.first:
            _prepare_folder(folder, config)
        processes.wait()

    def _restore(self, state: checkpoint.State) -> None:
        self.learner.network.load_state_dict(state.model)
        self.optimiser.load_state_dict(state.optimiser)
        self.schedule.load_state_dict(state.schedule)
        self.step, self.best = state.step, state.best
        checkpoint.restore_random(state.random[self.processes.rank], self.processes.device)

    def go(self, until: int) -> Outcome:
        config = self.config
        values: dict[str, float] = {}
        journal = Journal(self.folder, self.step) if self.processes.first else None
        until = min(until, config.steps)
        try:
            for batch in self._batches(until):
                losses = self._advance(batch)
                self.step += 1
                if journal is not None and (self.step % config.log_every == 0 or self.step == 1):
                    journal.scalars(self.step, "train", losses | {"rate": float(self.schedule.get_last_lr()[0])})
                if self.processes.first:
                    self.progress(self.step, config.steps, losses)
                if journal is not None and (self.step % config.held_out.every == 0 or self.step == config.steps):
                    values = self._measure(journal)
                if self.step % config.checkpoint_every == 0 or self.step == until:
                    self._save()
        finally:
            if journal is not None:
                journal.close()
                draw_curves(self.folder)
        target = self.folder / MODEL
        if self.processes.first:
            checkpoint.export(target, self.learner.network.state_dict(), self._facts())
        self.processes.wait()
        return Outcome(target, values, self.step)

    def _batches(self, until: int) -> Iterator[Batch]:
        schedule = Schedule(self.plan.sample, self.step, until, self.config.batch, self.processes.rank, self.processes.world)
        # Its own generator: the loader draws a number when it starts, which would shift the dropout of a resumed run.
        loader: DataLoader[Any] = DataLoader(
            self.learned, batch_sampler=schedule, collate_fn=collate, num_workers=self.config.workers, generator=torch.Generator()
        )
        for batch in loader:
            yield batch.to(self.processes.device)

    def _advance(self, batch: Batch) -> dict[str, float]:
        """One step of the optimiser.

        Raises:
            TrainingError: a loss or gradient that is not finite; the weights are as they were.
        """
        self.learner.train()
        drawn: Drawn = self.model(batch, self.plan.level(self.step))
        total, parts = total_loss(drawn, batch.target.image, batch.target.matte, self.config.loss, self.perceptual)
        self._check(total, "loss")
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()
        limit = self.config.optimiser.clip or float("inf")
        norm = torch.nn.utils.clip_grad_norm_(list(self.learner.learned()), limit)
        self._check(norm, "gradient")
        self.optimiser.step()
        self.schedule.step()
        names = {"loss": total, **parts}
        return {name: float(self.processes.mean(value)) for name, value in names.items()}

    def _check(self, value: Tensor, what: str) -> None:
        if self.processes.all_true(bool(torch.isfinite(value).all())):
            return
        found = checkpoint.checkpoints(self.folder / CHECKPOINTS)
        last = f"the last good checkpoint is {found[-1].name}" if found else "there is no checkpoint yet"
        raise TrainingError(
            f"the {what} of step {self.step + 1} is not finite; {last}",
            "go on from it with --resume and a lower optimiser.rate in a new run",
        )

    def _measure(self, journal: Journal) -> dict[str, float]:
        """Held-out values; the best network so far is kept."""
        config, state = self.config, checkpoint.random_state(self.processes.device)
        self.learner.eval()
        level = min(config.held_out.level, config.model.levels)
        samples = held_out_samples(self.kept_out, [stage.data for stage in config.stages], config.held_out.pairs, config.held_out.photos)
        found = measure(lambda batch: self.learner(batch, level), self.kept_out, samples, self.measures, self.processes.device)
        checkpoint.restore_random(state, self.processes.device)
        journal.scalars(self.step, "held_out", found.values)
        if found.picture is not None:
            journal.picture(self.step, "held_out", found.picture)
        self.report(f"step {self.step}: " + ", ".join(f"{name} {value:.4g}" for name, value in found.values.items()))
        if found.values["psnr"] > self.best:
            self.best = found.values["psnr"]
            checkpoint.export(self.folder / BEST, self.learner.network.state_dict(), self._facts() | {"psnr": f"{self.best:.3f}"})
        return found.values

    def _save(self) -> None:
        random = self.processes.gathered(checkpoint.random_state(self.processes.device))
        if self.processes.first:
            state = checkpoint.State(
                self.step, self.processes.world, self.learner.network.state_dict(), self.optimiser.state_dict(), self.schedule.state_dict(),
                random, self.best, self.config.fixed(),
            )  # fmt: skip
            checkpoint.save(self.folder / CHECKPOINTS, state, self.config.keep)
        self.processes.wait()

    def _facts(self) -> dict[str, str]:
        content = json.dumps(self.config.fixed(), sort_keys=True)
        return {"lookalike_model": self.config.model.name, "config": content, "steps": str(self.step), "config_sha256": _digest(content)}


def _pairs(config: TrainingConfig, rig: Rig, report: Callable[[str], None]) -> tuple[Pairs, Pairs]:
    """Samples to learn from and samples of other people."""
    learned: dict[str, Footage] = {}
    kept_out: dict[str, Footage] = {}
    for name in dict.fromkeys(stage.data for stage in config.stages):
        footage = open_footage(config.data[name], rig, config.size, report)
        learned[name], kept_out[name] = parted(footage, config.data[name].held_out, name)
        report(f"{name}: {len(learned[name].people)} people to learn from, {len(kept_out[name].people)} held out")
    return Pairs(learned, config.seed), Pairs(kept_out, config.seed)


def _prepare_folder(folder: Path, config: TrainingConfig) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "config.json", json.dumps(config.fixed(), indent=1).encode())
    except (OSError, AvatarFileError) as error:
        raise TrainingError(f"{folder}: cannot be written ({error})", "choose another --output") from error


def _has_bf16(device: torch.device) -> bool:
    """Whether autocast to bfloat16 gains anything: on the CPU only where it has such instructions."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    check = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    with contextlib.suppress(RuntimeError):
        return bool(check()) if check is not None else False
    return False


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
