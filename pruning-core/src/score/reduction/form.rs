//! How a reduction is written in recipes.

use crate::score::reduction::{NormOrder, Reduction, ReductionError};
use serde::{Deserialize, Serialize};

// JSON has no infinity, so this one goes by name.
#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a norm order: a number of at least 0, or inf")]
pub(super) enum OrderForm {
    Number(f64),
    Text(String),
}

impl TryFrom<OrderForm> for NormOrder {
    type Error = ReductionError;

    fn try_from(form: OrderForm) -> Result<Self, ReductionError> {
        match form {
            OrderForm::Number(p) => Self::new(p),
            OrderForm::Text(text) => match text.parse() {
                Ok(p) => Self::new(p),
                Err(_) => Err(ReductionError::Unknown { text }),
            },
        }
    }
}

impl From<NormOrder> for OrderForm {
    fn from(order: NormOrder) -> Self {
        if order.0.is_finite() { Self::Number(order.0) } else { Self::Text("inf".to_string()) }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "expected \"sum\", \"mean\", \"max\", \"l1\", \"l2\" or { norm = p }")]
pub(super) enum ReductionForm {
    Text(String),
    Norm(NormTable),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NormTable {
    norm: NormOrder,
}

impl TryFrom<ReductionForm> for Reduction {
    type Error = ReductionError;

    fn try_from(form: ReductionForm) -> Result<Self, ReductionError> {
        match form {
            ReductionForm::Norm(NormTable { norm }) => Ok(Self::Norm(norm)),
            ReductionForm::Text(text) => match text.as_str() {
                "sum" => Ok(Self::Sum),
                "mean" => Ok(Self::Mean),
                "max" => Ok(Self::Max),
                "l1" => Self::norm(1.0),
                "l2" => Self::norm(2.0),
                "linf" => Self::norm(f64::INFINITY),
                _ => Err(ReductionError::Unknown { text }),
            },
        }
    }
}

impl From<Reduction> for ReductionForm {
    fn from(reduction: Reduction) -> Self {
        let text = match reduction {
            Reduction::Sum => "sum",
            Reduction::Mean => "mean",
            Reduction::Max => "max",
            Reduction::Norm(norm) => return Self::Norm(NormTable { norm }),
        };
        Self::Text(text.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_round_trip_and_bad_ones_are_refused() {
        let norms =
            [NormOrder::ZERO, NormOrder::L1, NormOrder::L2, NormOrder(0.5), NormOrder::INFINITY].map(Reduction::Norm);
        for reduction in [Reduction::Sum, Reduction::Mean, Reduction::Max].into_iter().chain(norms) {
            let text = serde_json::to_string(&reduction).unwrap();
            assert_eq!(serde_json::from_str::<Reduction>(&text).unwrap(), reduction);
        }
        for text in [r#""l3""#, r#"{"norm":-1}"#, r#"{"norm":2,"x":1}"#] {
            assert!(serde_json::from_str::<Reduction>(text).is_err(), "{text}");
        }
    }
}
