"""Statistics held against statsmodels itself, on random data."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from peval.stats import (
    benjamini_hochberg,
    difference_interval,
    holm,
    mcnemar,
    mean_interval,
    minimum_detectable_effect,
    repeated_interval,
)

pytest.importorskip("statsmodels", reason="no statsmodels: it is in requirements/cpu.lock")

N_DRAWS = 60


def alone(n: int) -> list[str]:
    return [str(i) for i in range(n)]


def test_mcnemar_of_random_tables() -> None:
    from statsmodels.stats.contingency_tables import mcnemar as theirs

    rng = np.random.default_rng(0)
    for gained, lost in rng.integers(0, 80, (N_DRAWS, 2)).tolist():
        expected = theirs([[5, gained], [lost, 7]], exact=True).pvalue
        assert mcnemar(gained, lost).p_value == pytest.approx(min(1.0, expected), rel=1e-9)


def test_wilson_of_random_shares() -> None:
    from statsmodels.stats.proportion import proportion_confint

    rng = np.random.default_rng(1)
    for _ in range(N_DRAWS):
        n = int(rng.integers(2, 500))
        k = int(rng.integers(0, n + 1))
        found = mean_interval([1.0] * k + [0.0] * (n - k), alone(n))
        expected = proportion_confint(k, n, method="wilson")
        assert (found.low, found.high) == pytest.approx(expected, abs=1e-12)


def test_holm_and_benjamini_hochberg_of_random_families() -> None:
    from statsmodels.stats.multitest import multipletests

    rng = np.random.default_rng(2)
    for _ in range(N_DRAWS):
        p = rng.beta(0.4, 1, int(rng.integers(1, 60))).round(3)  # with ties, and zeros among them
        np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1], rtol=1e-9)
        expected = multipletests(p, method="fdr_bh")[1]
        np.testing.assert_allclose(benjamini_hochberg(p), expected, rtol=1e-9)


def test_the_interval_of_a_difference_is_the_cluster_robust_one_of_a_regression() -> None:
    """On clusters of one size the jackknife is the sandwich with G / (G - 1) and Student's t."""
    import statsmodels.api as sm

    rng = np.random.default_rng(3)
    for n_clusters in (5, 12, 40):
        index = np.repeat(np.arange(n_clusters), 20)
        d = np.clip(
            rng.normal(0.05, 0.05, n_clusters)[index] + rng.normal(0, 0.1, len(index)), -1, 1
        )
        fitted = sm.OLS(d, np.ones(len(d))).fit(
            cov_type="cluster", cov_kwds={"groups": index, "df_correction": True}, use_t=True
        )
        # statsmodels' correction has (n - 1) / (n - k) too, which is 1 for a mean.
        found = difference_interval(d, [str(i) for i in index])
        assert (found.low, found.high) == pytest.approx(tuple(fitted.conf_int()[0]), rel=1e-9)


def test_power() -> None:
    from statsmodels.stats.power import TTestPower

    rng = np.random.default_rng(4)
    for n in (30, 100, 1000):
        d = rng.normal(0, 0.2, n).clip(-1, 1)
        effect = TTestPower().solve_power(nobs=n, alpha=0.05, power=0.8) * d.std(ddof=1)
        assert minimum_detectable_effect(d, alone(n)) == pytest.approx(effect, rel=0.01)


def test_variances_are_those_of_a_mixed_model() -> None:
    import pandas
    from statsmodels.regression.mixed_linear_model import MixedLM

    rng = np.random.default_rng(5)
    items = np.repeat(np.arange(60), 8)
    values = rng.normal(0.5, 0.2, 60)[items] + rng.normal(0, 0.1, len(items))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = pandas.DataFrame({"y": values, "one": 1.0, "item": items})
        fitted = MixedLM(data.y, data[["one"]], groups=data.item).fit(reml=True)
    found = repeated_interval(values, [str(i) for i in items], [str(i) for i in items])
    assert found.sampling_variance == pytest.approx(fitted.scale, rel=1e-3)
    assert found.item_variance == pytest.approx(float(fitted.cov_re.iloc[0, 0]), rel=1e-2)
