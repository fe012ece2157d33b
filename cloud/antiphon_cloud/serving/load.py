"""From a model directory to something that serves sessions: the stepper's process, the codec and the tokenizer."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from antiphon.spec import Limits
from antiphon_cloud.checkpoint.adapter_files import AdapterFiles
from antiphon_cloud.checkpoint.tokenizer import Tokenizer
from antiphon_cloud.codec.folder import CodecFolder
from antiphon_cloud.engine.adapters import AdapterAccount
from antiphon_cloud.engine.engine import Engine
from antiphon_cloud.engine.forecast import StepForecast
from antiphon_cloud.engine.host import StepperProcess
from antiphon_cloud.engine.messages import built
from antiphon_cloud.errors import CheckpointError
from antiphon_cloud.metrics import Metrics
from antiphon_cloud.model.config import MAX_TOP_K
from antiphon_cloud.server.worker import ServedModel
from antiphon_cloud.serving.config import ModelFacts, ServingConfig
from antiphon_cloud.sessions.prompts.families import strategy
from antiphon_cloud.sessions.script.script import ScriptRules

SAY_BYTES = 64 * 1024  # of text that may wait to be said: over an hour of speech


def load(config: ServingConfig, metrics: Metrics) -> ServedModel:
    """Starts the stepper's process, which loads the model and exports its codec where the directory has none yet, and
    loads the rest that sessions need. This process never imports torch.

    Raises:
        AntiphonError: a file of the model is missing or damaged; the model, or the device, is not supported, or has too
            little memory; the codec cannot be exported.
    """
    arguments = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(config).items()}
    stepper = StepperProcess("antiphon_cloud.serving.load_stepper:load_stepper", arguments)
    facts = built(ModelFacts, stepper.facts["model"])
    codec = CodecFolder.open(Path(facts.codec))
    for does, codebooks in (("hears", stepper.spec.user_codebooks), ("speaks", stepper.spec.model_codebooks)):
        if codec.spec.codebooks < codebooks:
            raise CheckpointError(
                f"{facts.codec}: {codec.spec.codebooks} codebooks where the model {does} {codebooks}; "
                "export the codec again"
            )
    tokenizer = Tokenizer(Path(facts.tokenizer), padding=(facts.text_padding_token,))
    limits = Limits(
        config.slots,
        idle_timeout_ms=config.idle_timeout_ms,
        max_top_k=MAX_TOP_K,
        history_steps=facts.history_steps,
        keep_slot_ms=config.keep_slot_ms,
        say_bytes=SAY_BYTES if stepper.spec.model_codebooks else 0,
    )
    rules = None
    if stepper.spec.model_codebooks:
        rules = ScriptRules(tokenizer.encode, facts.words_ahead, tuple(facts.code_delays))
    files = AdapterFiles.given(config.model, config.adapters_dir, config.adapters)
    adapters = AdapterAccount(files, facts.adapter_places)
    engine = Engine(stepper, StepForecast(facts.profile), metrics, facts.pool, adapters)
    return ServedModel(
        engine,
        codec,
        tokenizer.piece,
        limits,
        config.step_budget_ms,
        strategy(stepper.spec, tokenizer.encode, facts.voices, facts.speakers, facts.silence),
        (*(voice.name for voice in facts.voices), *facts.speakers),
        rules,
        facts.conditions,
        config.reserve,
    )
