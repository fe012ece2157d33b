"""The batch: numpy in, one step of the model, numpy out. Driven by one thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from antiphon.history import HistoryTokens
from antiphon.spec import ModelSpec, Sampling
from antiphon_cloud.backends.cuda.tiling import MOST_ROWS
from antiphon_cloud.backends.select import select
from antiphon_cloud.checkpoint.adapter_files import AdapterPaths
from antiphon_cloud.checkpoint.directory import ModelDirectory
from antiphon_cloud.checkpoint.families import PERSONAPLEX
from antiphon_cloud.checkpoint.fingerprint import model_fingerprint
from antiphon_cloud.checkpoint.load import is_int8, load_model
from antiphon_cloud.checkpoint.voices import Voice, read_voices
from antiphon_cloud.errors import ConfigError
from antiphon_cloud.model.adapters import AdapterRoom
from antiphon_cloud.model.config import MAX_TOP_K, LMConfig
from antiphon_cloud.model.kv_ring import PAGE, Kv, Paging
from antiphon_cloud.model.ops import Ops
from antiphon_cloud.model.state import BatchState
from antiphon_cloud.model.step import StepOutput, prefill, step
from antiphon_cloud.runner import card
from antiphon_cloud.runner.adapters import AdapterLoading, Adapters
from antiphon_cloud.runner.conditions import SlotConditions
from antiphon_cloud.runner.footprint import check_fits, footprint, pool_that_fits
from antiphon_cloud.runner.graphs import GraphRunner, pack_outputs
from antiphon_cloud.runner.model_spec import model_spec
from antiphon_cloud.runner.page_pool import PagePool, PoolShape
from antiphon_cloud.runner.prefill import Prefill, PromptPrefill
from antiphon_cloud.runner.prompt_cache import PromptCache
from antiphon_cloud.runner.settings import DEFAULT, SessionSettings
from antiphon_cloud.runner.step_result import StepResult

PREFILL_KINDS = (1, 2, 17, 33, MOST_ROWS + 1)  # steps of chunks: one for each way in which a GPU multiplies them


class ModelRunner:
    """Steps the sessions of a fixed number of slots.

    All state lives in tensors that are allocated here, once: a step only writes into them. Where steps go over static
    buffers, slots share the memory of keys and values: each has the pages that it is promised, until `allow` says else.
    Whatever is done raises `DeviceLostError` where the device has failed for good.

    Args:
        ops: what computes a step, with the weights, on the device that will step them.
        slots: sessions at most.
        spec: the model as sessions see it.
        kv_dtype: what keys and values are held in, int8 included; None for the activations' dtype.
        static: whether steps go over static buffers; None for on a GPU.
        graphs: whether steps over static buffers are captured and replayed; needs a GPU.
        pool: memory that slots share, if they do; None for a whole context for each.
        voices: that a prompt may name.
        prompt_cache_bytes: for keys and values of prompts, that later sessions may begin with.
        adapters: loads those that sessions choose; None where the model has no room for any.
        use_threads: shares the steps of this process among so many threads.
        directory: where the model's voices are; None for nowhere.
    """

    def __init__(
        self,
        ops: Ops,
        slots: int,
        spec: ModelSpec,
        kv_dtype: torch.dtype | None = None,
        *,
        static: bool | None = None,
        graphs: bool = True,
        pool: PoolShape | None = None,
        voices: Mapping[str, Voice] | None = None,
        prompt_cache_bytes: int = 0,
        adapters: Adapters | None = None,
        use_threads: Callable[[int], None] = torch.set_num_threads,
        directory: ModelDirectory | None = None,
    ) -> None:
        self.ops = ops
        self.voices = voices or {}
        self.prompts = PromptCache(prompt_cache_bytes)
        self.use_threads = use_threads
        self.slots = slots
        self.spec = spec
        self._adapters = adapters
        self.graph_runner: GraphRunner | None = None
        self._last: tuple[int, StepOutput] | None = None
        self._device = device = ops.model.text_emb.weight.device
        static = device.type == "cuda" if static is None else static
        context = self.config.context
        shared = pool or PoolShape.of(slots, context, PAGE, None)
        self.pool = shared if static else PoolShape.one_page_each(slots, context)
        self._pages = PagePool(self.pool.pages, slots)
        paging = Paging(self.pool.pages + 1, self.pool.page) if static else None
        with torch.inference_mode():
            self.state = BatchState.allocate(self.config, slots + static, ops.model.dtype, device, kv_dtype, paging)
            ring = self.state.ring
            self._step_bytes = sum(tensor.nbytes // (tensor.shape[1] * tensor.shape[3]) for tensor in ring.tensors)
            self._conditions = SlotConditions(ops.model, self.state.conditions, directory)
            for slot in range(slots):
                self.allow(slot, self.pool.promised)
            if static:
                self.graph_runner = GraphRunner(ops, self.state)
                if graphs:
                    self.graph_runner.capture()

    @classmethod
    def load(
        cls,
        directory: ModelDirectory,
        slots: int,
        dtype: torch.dtype,
        device: torch.device | str,
        *,
        quantize: str | None = None,
        kv_dtype: torch.dtype | None = None,
        graphs: bool = True,
        random_weights: bool = False,
        threads: int | None = None,
        promise: int | None = None,
        prompt_cache_bytes: int = 0,
        room: AdapterRoom | None = None,
    ) -> ModelRunner:
        """A runner for the directory's model.

        Args:
            directory: the model.
            slots: sessions at most.
            dtype: of activations, and of weights that are not int8.
            device: where it steps.
            quantize: "none", "int8", or None for weights as the directory holds them.
            kv_dtype: what keys and values are held in, int8 included; None for `dtype`.
            graphs: on a GPU, whether steps are captured and replayed.
            random_weights: whether the weights are random, which sessions may know.
            threads: that loading and steps are shared among; None for as many as before.
            promise: on a GPU, steps of keys and values that each session has memory for; None for the whole context.
            prompt_cache_bytes: for keys and values of prompts, in a model that takes voices.
            room: for adapters that sessions choose; None for none.

        Raises:
            CheckpointError: the weights are missing, damaged, or another model's.
            ConfigError: `quantize` contradicts the directory, or the model and its slots do not fit in memory.
            DeviceLostError: the device has failed for good.
        """
        device = torch.device(device)
        directory.require_weights()
        int8 = is_int8(directory, quantize)
        kv_dtype = kv_dtype or dtype  # not the activations', which are float32 where integers are multiplied
        backend = select(device, dtype, int8)
        takes_voice = directory.config.model_type == PERSONAPLEX
        voices = read_voices(directory.root, directory.config.lm) if takes_voice else {}
        prompt_cache_bytes = prompt_cache_bytes if takes_voice else 0
        needed, pool = footprint(directory.config.lm, backend, kv_dtype, prompt_cache_bytes, room), None
        if device.type == "cuda":
            pool = pool_that_fits(needed, directory.config.lm.context, slots, device, promise)
        elif promise is not None:
            raise ConfigError("--kv-promise is for --device cuda: on a CPU each slot has memory for its whole context")
        else:
            check_fits(needed, slots, device)
        if threads is not None:
            backend.use_threads(threads)
        spec = model_spec(directory, torch.int8 if int8 else dtype, random_weights)
        spec = replace(spec, fingerprint=model_fingerprint(directory, int8))
        with card.room(device), card.faults(device):
            model = load_model(directory, backend, room)
            adapters = None if model.adapters is None else Adapters(model.adapters, directory.config)
            return cls(
                backend.ops(model),
                slots,
                spec,
                kv_dtype,
                graphs=graphs,
                pool=pool,
                adapters=adapters,
                voices=voices,
                prompt_cache_bytes=prompt_cache_bytes,
                use_threads=backend.use_threads,
                directory=directory,
            )

    @property
    def config(self) -> LMConfig:
        """The model's shape."""
        return self.ops.model.config

    def allow(self, slot: int, pages: int) -> None:
        """Lets `slot` have so many pages of the memory that slots share. One more may come while its session has not
        stepped beyond those that it has; any other number is for its next session, which is reset. Nothing waits."""
        if self.state.ring.paged:
            with card.faults(self._device), torch.inference_mode():
                self.state.ring.assign(slot, self._pages.allow(slot, pages))

    def window(self, slot: int) -> int:
        """Steps that the session in `slot` looks back to, its own included."""
        return self.pool.window(self._pages.count(slot)) if self.state.ring.paged else self.config.context

    def reset(self, slot: int, seed: int, sampling: Sampling, settings: SessionSettings = DEFAULT) -> None:
        """Starts a new session in `slot`; nothing of the last one remains in sight.

        Args:
            slot: row of the batch.
            seed: the session's tokens are a function of it, of the sampling and of the user's codes.
            sampling: temperatures, and top-ks of 1 to `MAX_TOP_K`.
            settings: what the model is told for the whole session.

        Raises:
            PreconditionError: the settings ask for what the model does not have.
            CheckpointError: a file that they name is damaged.
        """
        assert 0 <= slot < self.slots
        assert 0 < sampling.text_top_k <= MAX_TOP_K
        assert 0 < sampling.audio_top_k <= MAX_TOP_K
        with card.faults(self._device), torch.inference_mode():
            self.state.clear(slot)
            self.state.sampling.set(slot, seed, sampling)
            self._conditions.set(slot, settings)

    def load_adapter(self, place: int, paths: AdapterPaths) -> AdapterLoading:
        """What brings an adapter into a place that no session has any more; see `AdapterLoading`."""
        assert self._adapters is not None, "there is no room for adapters"
        return self._adapters.load(place, paths)

    def adapt(self, slot: int, place: int) -> None:
        """Steps the session in `slot`, which has just been reset, with the adapter in a place."""
        with card.faults(self._device), torch.inference_mode():
            self.state.adapters[slot] = place

    def resume(
        self, slot: int, seed: int, sampling: Sampling, history: HistoryTokens, settings: SessionSettings = DEFAULT
    ) -> Prefill:
        """Resets `slot` and says how to bring it to where the session of these tokens stood; see `reset`."""
        self.reset(slot, seed, sampling, settings)
        prompt = self._prompt(slot, settings) if settings.prompt_steps and not history.first else PromptPrefill()
        return Prefill(self, self.config, slot, history, self.window(slot), prompt)

    def _prompt(self, slot: int, settings: SessionSettings) -> PromptPrefill:
        """What is known of a session that begins with a prompt; where that is kept, the slot has it from now on."""
        named = [self.voices[name] for name in settings.voices if name in self.voices]
        embedded = named[0].embeddings if named else None
        steps = settings.prompt_steps - self.config.max_delay
        if not 0 < steps <= self.window(slot):
            return PromptPrefill(embedded=embedded)
        key = (settings.prompt_sha256, settings.adapter_sha256, tuple(sorted(settings.conditions.items())))
        ring, kept = self.state.ring, self.prompts.get(key)
        with card.faults(self._device), torch.inference_mode():
            if kept is not None:
                ring.paste(slot, steps, kept)

        def keep() -> None:
            if self.prompts.get(key) is None and self.prompts.make_room(steps * self._step_bytes):
                with card.faults(self._device), torch.inference_mode():
                    self.prompts.put(key, ring.copy(slot, steps))

        return PromptPrefill(steps, kept is not None, keep, embedded)

    def place(self, slot: int, step: int, steps: range, tokens: npt.NDArray[np.int32]) -> None:
        """Puts the slot's session before `step`, with what its streams hold at the steps around, [streams, T]."""
        with card.faults(self._device), torch.inference_mode():
            self.state.offsets[slot] = step
            self.state.place(slot, steps, torch.from_numpy(tokens.astype(np.int64)).to(self.state.tokens.device))

    def prefill(self, slot: int, inputs: npt.NDArray[np.int32] | Tensor, steps: range, first: int) -> None:
        """Writes the keys and values of steps whose inputs are known.

        Args:
            slot: row of the batch.
            inputs: what the streams hold at each step, [streams, T]; or the sum of its embeddings, [T, dim].
            steps: one after the other, at most the slot's window.
            first: the earliest step of which the slot holds keys and values, or `steps.start`.
        """
        ring, device = self.state.ring, self._device
        kv: Kv
        with card.faults(device), torch.inference_mode():
            if not ring.paged and self.ops.model.dtype == torch.float32:  # to the bit what steps would leave
                kv = ring.ragged([slot] * len(steps), steps, first)
            else:
                kv = ring.consecutive(slot, steps, first, self.window(slot))
            if isinstance(inputs, Tensor):
                given = inputs.to(device, self.ops.model.dtype)
            else:
                given = torch.from_numpy(inputs.T.astype(np.int64)).to(device)
            numbers = torch.tensor(steps, device=device)
            conditions = self.state.conditions.rows(torch.full_like(numbers, slot))
            ops = self.ops
            if ops.model.adapters is not None:
                ops = ops.adapted(self.state.adapters[slot : slot + 1])
            prefill(ops, given, numbers, kv, conditions)
            if device.type == "cuda":  # whoever measures the chunk measures all of it
                torch.cuda.current_stream(device).synchronize()

    def warm_up_prefill(self) -> None:
        """Computes chunks of each kind that there is, so that nothing is compiled while sessions are served.

        What slot 0 holds is undefined afterwards.
        """
        longest = self.window(0)
        for steps in dict.fromkeys(min(chunk, longest) for chunk in PREFILL_KINDS):
            self.prefill(0, np.zeros((self.config.streams, steps), np.int32), range(steps), 0)

    def step(
        self,
        slots: Sequence[int],
        user_codes: npt.NDArray[np.int32],
        forced: npt.NDArray[np.int32] | None = None,
    ) -> StepResult:
        """Advances `slots` by one frame each; the others do not change.

        Args:
            slots: distinct rows of the batch, at least one.
            user_codes: [n, user_codebooks], row i for `slots[i]`.
            forced: tokens [n, 2 + model_codebooks] for the model's streams, see `model.step.step`; None for none.
        """
        rows = list(slots)
        assert len(set(rows)) == len(rows) == len(user_codes)
        with card.faults(self._device), torch.inference_mode():
            output, packed = self._run(
                rows, user_codes.astype(np.int64), None if forced is None else forced.astype(np.int64)
            )
        self._last = len(rows), output
        return StepResult.unpack(packed, self.config.dep_q)

    @property
    def last_output(self) -> StepOutput:
        """What the last step made, where the device left it; rows beyond its slots are padding."""
        assert self._last is not None, "no step was taken"
        return self._last[1]

    @property
    def captured(self) -> bool:
        """Whether every step is a captured graph's replay."""
        return self.graph_runner is not None and self.graph_runner.captured

    @property
    def padded(self) -> tuple[int, ...]:
        """The batches that steps are padded to; none where a step has as many rows as sessions."""
        return () if self.graph_runner is None else tuple(self.graph_runner.buffers)

    @property
    def text_logits(self) -> npt.NDArray[np.float32]:
        """The last step's text logits [n, text_card], in the order of its slots."""
        return self._tap("text_logits")

    @property
    def audio_logits(self) -> npt.NDArray[np.float32]:
        """The last step's logits of the codes [n, model_codebooks, cardinality]."""
        return self._tap("audio_logits")

    @property
    def extra_heads(self) -> npt.NDArray[np.float32]:
        """The last step's extra heads [n, heads, classes]: probabilities."""
        return self._tap("extra_heads")

    @property
    def tensors(self) -> Sequence[Tensor]:
        """All that steps read and write beside the weights; none ever moves."""
        return (*self.state.tensors, *(self.graph_runner.tensors if self.graph_runner else ()))

    def _run(
        self, rows: list[int], codes: npt.NDArray[np.int64], forced: npt.NDArray[np.int64] | None
    ) -> tuple[StepOutput, npt.NDArray[np.int32]]:
        """One step of the rows, and its `pack_outputs`; on a GPU, over static buffers, waiting for it once."""
        if self.graph_runner is not None:
            return self.graph_runner.run(rows, codes, forced), self.graph_runner.wait()
        slots = torch.tensor(rows)
        kv = self.state.ring.ragged(rows, self.state.offsets[slots].tolist())
        wanted = None if forced is None else torch.from_numpy(forced)
        output = step(self.ops, self.state, slots, torch.from_numpy(codes), kv, wanted)
        return output, pack_outputs(output).numpy()

    def _tap(self, name: str) -> npt.NDArray[np.float32]:
        assert self._last is not None, "no step was taken"
        count, output = self._last
        value: Tensor = getattr(output, name)
        tapped: npt.NDArray[np.float32] = value.cpu().numpy()[:count]
        return tapped
