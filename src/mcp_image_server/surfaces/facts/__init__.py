"""Values as JSON, the same on every surface.

The shape of an answer is `version`, `ok`, `images`, `error{code, message, details}`, as predecessors' users know it; a job, adjustments and the cost stand beside
them when there are any. What is absent is left out, but for the fields that have always been there.
"""

from .batches import batch_body, batch_estimate_facts, batch_facts, headway_words, listed_batch_facts
from .catalogues import (
    brief_sizes,
    catalogue_facts,
    comparison_facts,
    finding_facts,
    model_facts,
    models_facts,
    size_words,
    style_facts,
    template_facts,
)
from .images import found_facts, image_facts, image_filter, image_uri, inspection_facts, lineage_facts, statistics_facts
from .jobs import (
    VERSION,
    adjustment_facts,
    answer,
    cost_facts,
    error_body,
    estimate_facts,
    failure_facts,
    job_facts,
    listed_job_facts,
    ranked_facts,
    succeeded,
    transformed_facts,
)
from .present import amounts, amounts_words

__all__ = [
    "VERSION",
    "adjustment_facts",
    "amounts",
    "amounts_words",
    "answer",
    "batch_body",
    "batch_estimate_facts",
    "batch_facts",
    "brief_sizes",
    "catalogue_facts",
    "comparison_facts",
    "cost_facts",
    "error_body",
    "estimate_facts",
    "failure_facts",
    "finding_facts",
    "found_facts",
    "headway_words",
    "image_facts",
    "image_filter",
    "image_uri",
    "inspection_facts",
    "job_facts",
    "lineage_facts",
    "listed_batch_facts",
    "listed_job_facts",
    "model_facts",
    "models_facts",
    "ranked_facts",
    "size_words",
    "statistics_facts",
    "style_facts",
    "succeeded",
    "template_facts",
    "transformed_facts",
]
