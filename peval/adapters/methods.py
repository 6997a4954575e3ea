"""The methods that PEFT can save, and what each setting of theirs means to an evaluation.

A method is in `METHODS` only if its preflight equation is known (`equations`, `prompts`). Settings
are those of PEFT 0.21: ``settings`` have an effect on what a trained adapter computes,
``without_effect`` only had one in training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_EVERYWHERE = frozenset({
    "task_type", "peft_type", "peft_version", "auto_mapping", "base_model_name_or_path", "revision",
    "inference_mode", "megatron_core", "unsloth_fixed", "runtime_config", "bone_version",
})  # fmt: skip
_REFUSED = {
    "megatron_config": "Megatron layers",
    "ensure_weight_tying": "an adapter that tied weights share",
    "modules_to_tie": "an adapter that tied weights share",
}
_TARGETS: dict[str, Any] = {
    "target_modules": None, "exclude_modules": None, "layers_to_transform": None,
    "layers_pattern": None, "modules_to_save": None, "bias": "none", "fan_in_fan_out": False,
}  # fmt: skip
_PROMPT = {"num_virtual_tokens": 0}
_PROMPT_SHAPE = ("token_dim", "num_transformer_submodules", "num_attention_heads", "num_layers")
_NEEDS_DATA = ("changes the base weights by what only the training knew; save it again with PEFT's "
               "path_initial_model_for_weight_conversion")  # fmt: skip


@dataclass(frozen=True)
class Method:
    """One PEFT method.

    Parameters
    ----------
    peft_type, name
        What PEFT and what people call it.
    settings
        Settings with an effect, and their defaults; a default's type says what is allowed.
    without_effect
        Settings that only mattered in training.
    refused
        Settings whose features have no equation here, and what they are.
    initial
        The setting that says how the first weights were made.
    initials, refused_initials
        Its known values besides true and false, and which of them are refused why.
    null_if_zero
        The kinds of tensor any of which, all zero, leaves its module as it was.
    needs_targets, has_rank
        Whether ``target_modules`` and ``r`` are required.
    """

    peft_type: str
    name: str
    settings: Mapping[str, Any]
    without_effect: frozenset[str] = frozenset()
    refused: Mapping[str, str] = field(default_factory=dict)
    initial: str = "init_weights"
    initials: tuple[str, ...] = ()
    refused_initials: Mapping[str, str] = field(default_factory=dict)
    null_if_zero: tuple[str, ...] = ()
    needs_targets: bool = True
    has_rank: bool = False


def _tuner(
    peft_type: str,
    name: str,
    settings: Mapping[str, Any],
    training: str = "",
    refused: Mapping[str, str] | None = None,
    **rest: Any,
) -> Method:
    """Return a method that changes modules; ``training`` lists settings without effect."""
    everything = {**_TARGETS, **settings}
    return Method(
        peft_type,
        name,
        everything,
        _EVERYWHERE | set(training.split()) | {rest.get("initial", "init_weights")} - set(settings),
        {**_REFUSED, **(refused or {})},
        has_rank="r" in settings and settings["r"] != 0,
        **rest,
    )


def _prompt(peft_type: str, name: str, training: str, **settings: Any) -> Method:
    """Return a method that puts trained vectors before the prompt or into the attention."""
    return Method(
        peft_type,
        name,
        {**_PROMPT, **dict.fromkeys(_PROMPT_SHAPE), **settings},
        _EVERYWHERE | set(training.split()),
        {**_REFUSED, "modules_to_save": "a fully trained module beside a prompt",
         "prompt_tuning_init_state_dict_path": "a path to another checkpoint"},
        needs_targets=False,
    )  # fmt: skip


_RANKED = {"r": 8, "rank_pattern": {}}
_LORA = _tuner(
    "LORA", "LoRA",
    {**_RANKED, "lora_alpha": 8.0, "alpha_pattern": {}, "use_rslora": False, "use_dora": False,
     "lora_bias": False, "trainable_token_indices": None, "alora_invocation_tokens": None,
     "init_lora_weights": None},
    training="lora_dropout loftq_config eva_config corda_config lora_ga_config velora_config "
             "qalora_group_size",
    refused={
        "target_parameters": "LoRA on bare parameters", "layer_replication": "replicated layers",
        "use_qalora": "quantisation-aware QA-LoRA", "use_bdlora": "block-diagonal LoRA (BD-LoRA)",
        "arrow_config": "Arrow routing", "kasa_config": "KaSA, which changes the base weights",
        "monteclora_config": "MonteCLoRA",
    },
    initial="init_lora_weights",
    initials=("gaussian", "eva", "orthogonal", "mica", "pissa", "olora", "corda", "loftq",
              "lora_ga"),
    refused_initials={
        "corda": _NEEDS_DATA, "loftq": _NEEDS_DATA, "lora_ga": _NEEDS_DATA,
        "niter": _NEEDS_DATA,  # a randomised SVD, other at every start
    },
    null_if_zero=("lora_A.weight", "lora_B.weight", "lora_embedding_A", "lora_embedding_B"),
)  # fmt: skip

_ALL = (
    _LORA,
    _tuner("ADALORA", "AdaLoRA",
           {"init_r": 12, "rank_pattern": {}, "lora_alpha": 8.0},
           training="r target_r tinit tfinal deltaT beta1 beta2 orth_reg_weight total_step "
                    "lora_dropout loftq_config eva_config corda_config lora_ga_config "
                    "velora_config qalora_group_size use_rslora alpha_pattern",
           refused=dict(_LORA.refused) | dict.fromkeys(
               ("use_dora", "lora_bias", "trainable_token_indices", "alora_invocation_tokens"),
               "this feature of LoRA in AdaLoRA"),
           initial="init_lora_weights", null_if_zero=("lora_A", "lora_B", "lora_E")),
    _tuner("LOHA", "LoHa", {**_RANKED, "alpha": 8.0, "alpha_pattern": {}},
           training="rank_dropout module_dropout use_effective_conv2d",
           null_if_zero=("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")),
    _tuner("LOKR", "LoKr",
           {**_RANKED, "alpha": 8.0, "alpha_pattern": {}, "decompose_both": False,
            "decompose_factor": -1},
           training="rank_dropout rank_dropout_scale module_dropout use_effective_conv2d",
           initials=("lycoris",),
           null_if_zero=("lokr_w1", "lokr_w2", "lokr_w1_a", "lokr_w1_b", "lokr_w2_a",
                         "lokr_w2_b")),
    _tuner("IA3", "IA3", {"feedforward_modules": None}, initial="init_ia3_weights"),
    _tuner("VERA", "VeRA",
           {"r": 256, "projection_prng_key": None, "save_projection": True},
           training="vera_dropout d_initial",
           null_if_zero=("vera_lambda_b", "vera_lambda_d")),
    _tuner("OFT", "OFT",
           {"r": 0, "oft_block_size": 32, "coft": False, "eps": 6e-5, "block_share": False,
            "use_cayley_neumann": True, "num_cayley_neumann_terms": 5},
           training="module_dropout", null_if_zero=("oft_R.weight",)),
    _tuner("BOFT", "BOFT",
           {"boft_block_size": 4, "boft_block_num": 0, "boft_n_butterfly_factor": 1},
           training="boft_dropout"),
    _tuner("HRA", "HRA", {"r": 8, "apply_GS": False}),
    _tuner("FOURIERFT", "FourierFT",
           {"n_frequency": 1000, "scaling": 150.0, "random_loc_seed": 777,
            "n_frequency_pattern": {}},
           null_if_zero=("fourierft_spectrum",)),
    _tuner("MISS", "MiSS", {"r": 64, "mini_r": 1, "init_weights": True}, training="miss_dropout",
           initials=("bat", "mini"), null_if_zero=("miss_block",)),
    _tuner("C3A", "C3A", {"block_size": 256, "block_size_pattern": {}},
           initials=("gaussian", "kaiming_uniform", "xavier_uniform"),
           null_if_zero=("c3a_kernel",)),
    _tuner("ROAD", "RoAd", {"variant": "road_1", "group_size": 64}),
    _tuner("WAVEFT", "WaveFT",
           {"n_frequency": 2592, "scaling": 25.0, "wavelet_family": "db1", "use_idwt": True,
            "random_loc_seed": 777, "n_frequency_pattern": {}},
           refused={"proportional_parameters": "a number of frequencies that follows the sizes"},
           null_if_zero=("waveft_spectrum",)),
    _tuner("DELORA", "DeLoRA", {**_RANKED, "lambda_pattern": {}},
           training="delora_lambda module_dropout",
           null_if_zero=("delora_lambda", "delora_A", "delora_B")),
    _tuner("GRALORA", "GraLoRA", {"r": 32, "alpha": 64.0, "gralora_k": 2},
           training="gralora_dropout", refused={"hybrid_r": "hybrid GraLoRA"},
           null_if_zero=("gralora_A", "gralora_B")),
    _tuner("HIRA", "HiRA", {"r": 32, "rank_pattern": {}}, training="hira_dropout",
           initials=("gaussian",), null_if_zero=("hira_A", "hira_B")),
    _tuner("VBLORA", "VB-LoRA",
           {"r": 4, "num_vectors": 256, "vector_length": 256, "topk": 2},
           training="vblora_dropout init_vector_bank_bound init_logits_std",
           refused={"save_only_topk_weights": "VB-LoRA reduced to its largest weights"}),
    _tuner("LN_TUNING", "LN tuning", {}, needs_targets=False),
    _tuner("TRAINABLE_TOKENS", "trainable tokens", {"token_indices": None}, needs_targets=False),
    _prompt("PROMPT_TUNING", "prompt tuning",
            "prompt_tuning_init prompt_tuning_init_text tokenizer_name_or_path tokenizer_kwargs"),
    _prompt("P_TUNING", "P-tuning",
            "encoder_reparameterization_type encoder_hidden_size encoder_num_layers "
            "encoder_dropout"),
    _prompt("MULTITASK_PROMPT_TUNING", "multitask prompt tuning",
            "prompt_tuning_init prompt_tuning_init_text tokenizer_name_or_path tokenizer_kwargs "
            "prompt_tuning_init_task", num_ranks=1, num_tasks=1),
    _prompt("PREFIX_TUNING", "prefix tuning",
            "encoder_hidden_size prefix_projection init_weights"),
    Method("ADAPTION_PROMPT", "adaption prompt",
           {"target_modules": None, "adapter_len": 0, "adapter_layers": 0}, _EVERYWHERE, _REFUSED),
    Method("XLORA", "X-LoRA",
           {"hidden_size": 0, "xlora_depth": 1, "xlora_size": 2048, "xlora_dropout_p": None,
            "layerwise_scalings": False, "enable_softmax": True, "enable_softmax_topk": False,
            "softmax_temperature": 1.0, "top_k_lora": None, "scaling_pass_value": None,
            "global_scaling_weight": 1.0},
           _EVERYWHERE | {"adapters"},
           _REFUSED | {"use_trainable_adapters": "experts trained along, which PEFT does not save "
                       "where it loads them from,"},
           needs_targets=False),
)  # fmt: skip

METHODS: Mapping[str, Method] = {method.peft_type: method for method in _ALL}

_NO_EQUATION = "is not served: which tensors it must hold is not known to peval"
REFUSED_METHODS: Mapping[str, str] = {
    "POLY": "is not served: it answers by a task number that no prompt carries",
    "CPT": "is not served: its prompt is projected by rules of the training",
    "CARTRIDGE": "is not served: it holds attention states, whose shapes PEFT does not fix",
    "BONE": "is not served: PEFT calls it MISS now and cannot load the old form",
    "RANDLORA": "is not served: it stores its shared matrices several times over",
    "SHIRA": "is not served: it stores positions, whose range is not checked",
    "OSF": "is not served: it stores whole decomposed weights",
    **dict.fromkeys(
        ("ADAMSS", "BEFT", "LILY", "FROD", "PVERA", "GLORA", "UNILORA", "TINYLORA", "PSOFT",
         "PEANUT", "SHADOW", "SUPERTUNING", "DEFT"), _NO_EQUATION),
}  # fmt: skip
