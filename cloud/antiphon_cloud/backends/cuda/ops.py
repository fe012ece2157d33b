"""A GPU's executor: a step in some four hundred kernels, each of which does what the definition does in several.

A layer is five: norm, projection, rotation and the new keys and values; attention; projection and residual; norm, gates
and values; product and residual. A cross attention adds four: norm; queries; attention; projection and
residual. What is no step (several positions of a session at once) goes by the definition.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from antiphon_cloud.backends.cuda.launch import Kernel
from antiphon_cloud.backends.cuda.places import Places
from antiphon_cloud.backends.cuda.products import Beside, Products, Rows, Weights
from antiphon_cloud.backends.cuda.tiling import MOST_ROWS, power_of_two
from antiphon_cloud.model.conditions import RowConditions
from antiphon_cloud.model.kv_ring import Kv, StaticKv
from antiphon_cloud.model.layers import Embedding, Layer, SwiGLU
from antiphon_cloud.model.lm import LanguageModel
from antiphon_cloud.model.ops import Drawn, Ops, StepInputs
from antiphon_cloud.model.sampling import SlotSampling
from antiphon_cloud.model.state import BatchState, CodebookKv, DepformerKv
from antiphon_cloud.model.tokens import NEW_WORD, UNGENERATED, ZERO

BEGIN, ROTATION, EMBED = Kernel("streams", "begin"), Kernel("streams", "rotation"), Kernel("streams", "embed")
NORM, FINISH = Kernel("streams", "norm"), Kernel("streams", "finish")
ATTEND, DRAW = Kernel("attention", "attend"), Kernel("draw", "draw")

PART = 512  # entries that one program attends to
ENTRIES = 64  # of them at a time
DRAW_BLOCK, SCORED = 16384, 4096  # logits at a time: counted, scored
FINITE_BLOCK = 1024  # logits that are looked at, at a time
EMBED_BLOCK = 512  # numbers of a vector


class CudaOps(Ops):
    """Steps over `StaticKv`, whose rows are a batch's and whose tensors a graph can hold.

    Args:
        model: whose matrices are floats, or int8 as `Int8Linear` has them.
    """

    def __init__(self, model: LanguageModel) -> None:
        super().__init__(model)
        config, device = model.config, model.text_emb.weight.device
        self._products = Products.on(device)
        self._pairs = config.demux_second_stream
        self._tables = _addresses([model.text_emb, *model.emb])
        pair = torch.arange(config.dim // config.num_heads // 2, dtype=torch.float32)
        exponents = pair * (-math.log(config.max_period) * 2 / (config.dim // config.num_heads))
        self._frequencies = torch.exp(exponents).to(device)  # as `rope` has them

    def begin(self, state: BatchState, slots: Tensor, user_codes: Tensor) -> StepInputs:
        """See `Ops.begin`."""
        config, rows = self.model.config, len(slots)
        generated = 1 + config.dep_q
        integers = [
            slots.new_empty(shape) for shape in ((rows, config.streams), rows, (rows, generated), rows, rows, rows)
        ]
        tokens, steps, keys, seeds, text_top_k, audio_top_k = integers
        text_temperature, audio_temperature = (state.sampling.text_temperature.new_empty(rows) for _ in range(2))
        of = state.sampling
        BEGIN.launch(
            (rows,),
            slots, user_codes, state.tokens, state.offsets, state.delays, state.initial,
            of.seeds, of.text_temperature, of.text_top_k, of.audio_temperature, of.audio_top_k,
            tokens, steps, keys, seeds, text_temperature, text_top_k, audio_temperature, audio_top_k,
            config.streams, generated, config.user_codebooks, state.tokens.shape[-1],
            STREAMS=power_of_two(config.streams), num_warps=1,
            reads=(slots, user_codes, tokens, seeds), writes=(user_codes, *integers),
        )  # fmt: skip
        sampling = SlotSampling(seeds, text_temperature, text_top_k, audio_temperature, audio_top_k)
        return StepInputs(tokens, steps, sampling, keys)

    def finish(self, state: BatchState, slots: Tensor, steps: Tensor, drawn: Drawn) -> tuple[Tensor, Tensor]:
        """See `Ops.finish`."""
        config, rows = self.model.config, len(slots)
        generated = 1 + config.dep_q
        output = slots.new_empty(rows, generated)
        finite = torch.empty(rows, dtype=torch.bool, device=slots.device)
        logits = (drawn.text_logits, drawn.audio_logits)
        FINISH.launch(
            (rows,),
            slots, steps, drawn.text, drawn.codes, *drawn.codes.stride(), *logits,
            state.delays, state.tokens, state.offsets, output, finite,
            config.streams, generated, state.tokens.shape[-1], config.max_delay, config.text_card,
            config.dep_q * config.card, UNGENERATED,
            GENERATED=power_of_two(generated), BLOCK=FINITE_BLOCK, num_warps=4,
            reads=(slots, steps, drawn.codes, output, *logits), writes=(output, output, finite),
        )  # fmt: skip
        return output, finite

    def embed(self, tokens: Tensor) -> Tensor:
        """See `Ops.embed`."""
        model, (rows, streams, steps) = self.model, tokens.shape
        if steps > 1 or self._tables is None:
            return super().embed(tokens)
        tokens, dim, like = tokens.contiguous(), model.config.dim, model.text_emb.weight  # all are of its dtype
        first = 1 if self._pairs else 0  # of the tables that are summed as they are
        text, summed = tokens[:, 0, 0], tokens[:, first:]
        x = torch.empty(rows, 1, dim, dtype=model.dtype, device=tokens.device)
        EMBED.launch(
            (rows, -(-dim // EMBED_BLOCK)),
            self._tables[first:], summed, like, x, summed.shape[1], streams, dim,
            BLOCK=EMBED_BLOCK, num_warps=4,
            reads=(tokens, summed.numel() * dim * like.element_size()), writes=(x,),
        )  # fmt: skip
        if self._pairs:
            x = self._products.linear_add(*self._pair(model.text_emb, text, Rows(x[:, 0])))[:, None]
        return x

    def _pair(self, embedding: Embedding, tokens: Tensor, residual: Rows | None = None) -> tuple[Weights, Rows, Rows]:
        """The second product of a token's two vectors, to be added to the first, which is added to the residual."""
        assert embedding.out1 is not None
        assert embedding.out2 is not None
        first, second = embedding.parted(tokens)
        y = self._products.linear_add(Weights.of(embedding.out1), Rows(embedding.weight, first), residual)
        return Weights.of(embedding.out2), Rows(embedding.weight, second.clamp(min=ZERO)), Rows(y)

    def self_attention(
        self, layer: Layer, index: int, x: Tensor, sets: Sequence[int], rotation: Tensor | None, kv: Kv
    ) -> Tensor:
        """See `Ops.self_attention`."""
        if not isinstance(kv, StaticKv | CodebookKv):
            return super().self_attention(layer, index, x, sets, rotation, kv)
        matrix, places, heads = of_set(layer.self_attn.in_projs, sets), Places.of(kv, index), layer.self_attn.heads
        q = self._products.norm_qkv_append(
            layer.norm1, Weights.of(matrix), x[:, 0], heads, rotation, places, self._beside(matrix, x)
        )
        return self.attend_to(q, places).flatten(1)[:, None]

    def attend_to(self, q: Tensor, places: Places) -> Tensor:
        """Attends from queries [B, H, D] to what the places hold of their rows."""
        rows, heads, dim = q.shape
        parts, width = -(-places.context // PART), max(16, power_of_two(dim))
        out = torch.empty_like(q)
        entry_bytes = 2 * heads * places.entry_bytes
        ATTEND.launch(
            (rows, heads, parts),
            q, *places.tensors, out,
            *self._products.shared(rows * heads * power_of_two(parts) * (width + 2), rows * heads if parts > 1 else 0),
            heads, dim, places.pages, places.position + 1,
            PAGE=places.page, PART=PART, BLOCK=ENTRIES, WIDTH=width, PARTS=power_of_two(parts),
            num_warps=8 if places.key_scales is None else 4, num_stages=1,
            reads=(q, 0 if places.grows else rows * (places.position + 1) * entry_bytes), writes=(out,),
            read_per_entry=entry_bytes if places.grows else 0,
        )  # fmt: skip
        return out

    def cross_attention(self, layer: Layer, index: int, x: Tensor, conditions: RowConditions) -> Tensor:
        """See `Ops.cross_attention`."""
        cross = layer.cross_attention
        if not is_step(x):
            return super().cross_attention(layer, index, x, conditions)
        assert cross is not None
        q = self._products.linear_add(Weights.of(cross.q_proj), Rows(layer.norm_cross(x)[:, 0]))
        out = self.attend_to(q.view(len(q), cross.heads, -1), Places.of_cross(conditions, index)).flatten(1)[:, None]
        return self.linear_add(cross.out_projs, out, (0,), x)

    def linear_add(self, matrices: nn.ModuleList, x: Tensor, sets: Sequence[int], residual: Tensor) -> Tensor:
        """See `Ops.linear_add`."""
        if not is_step(x):
            return super().linear_add(matrices, x, sets, residual)
        return self._add(of_set(matrices, sets), x, residual)

    def gated(self, layer: Layer, x: Tensor, sets: Sequence[int]) -> Tensor:
        """See `Ops.gated`."""
        if not is_step(x):
            return super().gated(layer, x, sets)
        gating = of_set(layer.gatings, sets)
        assert isinstance(gating, SwiGLU)
        beside = self._beside(gating.linear_in, x)
        hidden = self._products.norm_gate(layer.norm2, Weights.of(gating.linear_in), x[:, 0], beside)
        return self._add(gating.linear_out, hidden[:, None], x)

    def temporal(self, tokens: Tensor, steps: Tensor, kv: Kv, conditions: RowConditions | None = None) -> Tensor:
        """See `Ops.temporal`."""
        if not isinstance(kv, StaticKv):
            return super().temporal(tokens, steps, kv, conditions)
        model, rows, pairs = self.model, len(tokens), len(self._frequencies)
        rotation = torch.empty(2, rows, pairs, device=tokens.device)
        ROTATION.launch(
            (rows,),
            steps.contiguous(), self._frequencies, rotation, rows, pairs, PAIRS=power_of_two(pairs), num_warps=1,
            reads=(steps, self._frequencies), writes=(rotation,),
        )  # fmt: skip
        x = self.embed(tokens)
        if conditions is not None:
            x = conditions.add_to(x)
        x = self.layers(model.transformer, x, (0,), rotation, kv, conditions)
        y, dim = torch.empty_like(x), x.shape[-1]
        NORM.launch(
            (rows,),
            x, model.out_norm.alpha, y, dim, model.out_norm.eps, BLOCK=power_of_two(dim), num_warps=8,
            reads=(x, model.out_norm.alpha), writes=(y,),
        )  # fmt: skip
        return y

    def logits(self, linear: nn.Module, x: Tensor) -> Tensor:
        """See `Ops.logits`."""
        weights = Weights.of(linear)
        out = torch.empty(len(x), len(weights.values), device=x.device)
        return self._products.linear_add(weights, Rows(x[:, 0]), out=out, beside=self._beside(linear, x))

    def draw(
        self,
        logits: Tensor,
        keys: Tensor,
        temperature: Tensor,
        top_k: Tensor,
        max_top_k: int,
        forced: Tensor | None = None,
    ) -> Tensor:
        """See `Ops.draw`."""
        tokens = keys.new_empty(len(logits))
        self.draw_into(tokens, logits, keys, temperature, top_k, forced)
        return tokens

    def draw_text(
        self,
        logits: Tensor,
        keys: Tensor,
        temperature: Tensor,
        top_k: Tensor,
        max_top_k: int,
        forced: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """See `Ops.draw_text`."""
        tokens = keys.new_empty(len(logits))
        drawn = tokens if forced is None else torch.empty_like(tokens)
        self.draw_into(tokens, logits, keys, temperature, top_k, forced, drawn)
        return tokens, drawn

    def codes(
        self,
        text: Tensor,
        hidden: Tensor,
        keys: Tensor,
        kv: DepformerKv,
        sampling: SlotSampling,
        max_top_k: int,
        forced: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """See `Ops.codes`."""
        model, config, rows = self.model, self.model.config, len(text)
        codes = text.new_empty(config.dep_q, rows)
        logits = torch.empty(rows, config.dep_q, config.card, device=text.device)
        previous = text
        for k, weight_set in enumerate(config.weight_sets):
            x = self._depformer_input(k, previous, hidden)
            x = self.layers(model.depformer, x, (weight_set,), None, kv.at(k, rows))
            linear = model.linears[k]
            beside = self._beside(linear, x)
            self._products.linear_add(Weights.of(linear), Rows(x[:, 0]), out=logits[:, k], beside=beside)
            previous = codes[k]
            wanted = None if forced is None else forced[:, k : k + 1].expand(-1, 2)
            self.draw_into(previous, logits[:, k], keys[:, k], sampling.audio_temperature, sampling.audio_top_k, wanted)
        return codes.t(), logits

    def _depformer_input(self, codebook: int, previous: Tensor, hidden: Tensor) -> Tensor:
        """The projection of hidden [B, 1, dim], and the vector of the token before: [B, 1, inner]."""
        model = self.model
        weight_set, embedding = model.config.weight_sets[codebook], model.codebook_embedding(codebook)
        vectors = Rows(embedding.weight, previous)
        if embedding.out1 is not None:
            vectors = Rows(self._products.linear_add(*self._pair(embedding, previous)))
        elif embedding.low_rank is not None:
            vectors = Rows(self._products.linear_add(Weights.of(embedding.low_rank), vectors))
        matrix = of_set(model.depformer_in, (weight_set,))
        beside = self._beside(matrix, hidden)
        return self._products.linear_add(Weights.of(matrix), Rows(hidden[:, 0]), vectors, beside=beside)[:, None]

    def _add(self, matrix: nn.Module, x: Tensor, residual: Tensor) -> Tensor:
        """Product of x [B, 1, inputs], with the rows' adapters, plus the residual."""
        beside = self._beside(matrix, x)
        return self._products.linear_add(Weights.of(matrix), Rows(x[:, 0]), Rows(residual[:, 0]), beside=beside)[
            :, None
        ]

    def _beside(self, matrix: nn.Module, x: Tensor) -> Beside | None:
        """The adapters of the rows of x [B, 1, inputs]; None where the model has no room for any."""
        if self._rows is None or self.model.adapters is None:
            return None
        return Beside(self.model.adapters.beside[matrix], self._rows.expand(len(x)).contiguous())

    def draw_into(
        self,
        tokens: Tensor,
        logits: Tensor,
        keys: Tensor,
        temperature: Tensor,
        top_k: Tensor,
        forced: Tensor | None = None,
        drawn: Tensor | None = None,
    ) -> None:
        """Draws tokens [B] from logits [B, V], whose last dimension is dense; forced is [B, 2].

        With `forced`, `drawn` [B] gets what was drawn.
        """
        drawn = tokens if drawn is None else drawn  # which is written first
        rows, cardinality = logits.shape
        block = min(DRAW_BLOCK, max(16, power_of_two(cardinality)))
        DRAW.launch(
            (rows,),
            logits, keys, temperature, top_k, keys if forced is None else forced, tokens, drawn,
            cardinality, logits.stride(0), keys.stride(0), *((0, 0) if forced is None else forced.stride()), NEW_WORD,
            UNGENERATED, BLOCK=block, SCORES=min(SCORED, block), FORCED=forced is not None,
            num_warps=32 if block > SCORED else 8,
            reads=(logits.nbytes,), writes=(tokens, drawn),
        )  # fmt: skip


def of_set(modules: Sequence[nn.Module] | nn.ModuleList, sets: Sequence[int]) -> nn.Module:
    """The module of a step's weight set; one module is every set's."""
    return modules[sets[0] if len(modules) > 1 else 0]


def is_step(x: Tensor) -> bool:
    """Whether x [B, T, dim] is of one position, contiguous, and of no more rows than the kernels multiply."""
    return x.shape[1] == 1 and len(x) <= MOST_ROWS


def _addresses(embeddings: Iterable[nn.Module]) -> Tensor | None:
    """Of the tables, int64 on their device; None where they differ in dtype."""
    tables: list[Tensor] = [embedding.weight for embedding in embeddings]  # type: ignore[misc]
    if len({table.dtype for table in tables}) > 1:
        return None
    if tables[0].is_meta:
        return torch.empty(len(tables), dtype=torch.int64, device=tables[0].device)
    return torch.tensor([table.data_ptr() for table in tables], device=tables[0].device)
