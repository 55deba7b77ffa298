"""The metadata of a cross-validation: what goes to its splitter, and what to its scorer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import sklearn
from sklearn.metrics import get_scorer
from sklearn.utils import metadata_routing

from fastsoftmax.estimator.cv_grid import WARN

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from fastsoftmax.contracts import MatrixLike


class Routing:
    """The mixin of SoftmaxRegressionCV with `score` and the routing of metadata."""

    # scikit-learn's own: `score` takes sample_weight for the scorer, and asks for nothing itself.
    __metadata_request__score: ClassVar = {"sample_weight": metadata_routing.UNUSED}

    cv: Any
    scoring: Any

    def score(
        self, X: MatrixLike, y: ArrayLike, sample_weight: ArrayLike | None = None, **params: Any
    ) -> float:
        """Return the score of the predictions by `scoring`, as a float.

        `sample_weight` and, with metadata routing, `params` go to the scorer.
        """
        _, score_params = self._routed("score", params, sample_weight)
        return float(self._get_scorer()(self, X, y, **score_params))

    def get_metadata_routing(self) -> Any:
        """Return the routing of metadata: `fit` to the splitter and the scorer, `score` to the scorer."""
        router = metadata_routing.MetadataRouter(owner=self).add_self_request(self)
        mapping = metadata_routing.MethodMapping
        router.add(splitter=self.cv, method_mapping=mapping().add(caller="fit", callee="split"))
        to_scorer = mapping().add(caller="score", callee="score").add(caller="fit", callee="score")
        return router.add(scorer=self._get_scorer(), method_mapping=to_scorer)

    @property
    def _scoring(self) -> Any:
        """The scorer or its name; None, for accuracy, where scikit-learn's default is asked for."""
        return None if isinstance(self.scoring, str) and self.scoring == WARN else self.scoring

    def _get_scorer(self) -> Any:
        # scikit-learn's name
        return get_scorer(self._scoring or "accuracy")

    def _routed(
        self, method: str, params: dict[str, Any], sample_weight: ArrayLike | None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the arguments for the splitter and for the scorer. Raises ValueError for unknown ones."""
        weights = {} if sample_weight is None else {"sample_weight": sample_weight}
        if not sklearn.get_config()["enable_metadata_routing"]:
            if params:
                raise ValueError(
                    f"[{', '.join(map(repr, params))}] are passed but cannot be routed to {method}, which is "
                    "only supported if enable_metadata_routing=True: see sklearn.set_config"
                )
            return {}, weights
        routed = metadata_routing.process_routing(self, method, **weights, **params)
        return (routed.splitter.split if method == "fit" else {}), routed.scorer.score
