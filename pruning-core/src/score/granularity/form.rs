//! How a granularity is written: in recipes and in messages.

use crate::score::granularity::{Along, Axis, Granularity, GranularityError};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Table {
    Element,
    Nm {
        n: usize,
        m: usize,
        #[serde(default)]
        along: Along,
    },
    Block {
        rows: usize,
        cols: usize,
    },
    Channel {
        #[serde(default)]
        axis: Axis,
    },
    Head {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        size: Option<usize>,
        #[serde(default)]
        axis: Axis,
    },
    Kernel {
        axis: usize,
    },
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected \"element\", \"channel\", \"head\", \"N:M\" such as \"2:4\" or \"2:4 taps\", or a table with `kind` \
    element, nm (n, m, along), block (rows, cols), channel (axis), head (size, axis) or kernel (axis)"
)]
pub(super) enum GranularityForm {
    Text(String),
    Table(Table),
}

impl TryFrom<GranularityForm> for Granularity {
    type Error = GranularityError;

    fn try_from(form: GranularityForm) -> Result<Self, GranularityError> {
        match form {
            GranularityForm::Text(text) => text.parse(),
            GranularityForm::Table(Table::Element) => Ok(Self::Element),
            GranularityForm::Table(Table::Nm { n, m, along }) => Self::nm_along(n, m, along),
            GranularityForm::Table(Table::Block { rows, cols }) => Self::block(rows, cols),
            GranularityForm::Table(Table::Channel { axis }) => Ok(Self::Channel { axis }),
            GranularityForm::Table(Table::Kernel { axis }) => Ok(Self::Kernel { axis }),
            GranularityForm::Table(Table::Head { size: Some(size), axis }) => Self::head(size, axis),
            GranularityForm::Table(Table::Head { size: None, axis }) => Ok(Self::Head { size: None, axis }),
        }
    }
}

impl From<Granularity> for Table {
    fn from(granularity: Granularity) -> Self {
        match granularity {
            Granularity::Element => Self::Element,
            Granularity::Nm { n, m, along } => Self::Nm { n, m, along },
            Granularity::Block { rows, cols } => Self::Block { rows, cols },
            Granularity::Channel { axis } => Self::Channel { axis },
            Granularity::Head { size, axis } => Self::Head { size, axis },
            Granularity::Kernel { axis } => Self::Kernel { axis },
        }
    }
}

impl std::str::FromStr for Granularity {
    type Err = GranularityError;

    fn from_str(text: &str) -> Result<Self, GranularityError> {
        match text {
            "element" => Ok(Self::Element),
            "channel" => Ok(Self::CHANNEL),
            "head" => Ok(Self::HEAD),
            _ => {
                let (pattern, along) = match text.strip_suffix(" taps") {
                    Some(pattern) => (pattern, Along::Taps),
                    None => (text, Along::Inputs),
                };
                match pattern.split_once(':').map(|(n, m)| (n.parse(), m.parse())) {
                    Some((Ok(n), Ok(m))) => Self::nm_along(n, m, along),
                    _ => Err(GranularityError::Unknown { text: text.to_string() }),
                }
            }
        }
    }
}

impl std::fmt::Display for Granularity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Element => write!(f, "element"),
            Self::Nm { n, m, along: Along::Inputs } => write!(f, "{n}:{m}"),
            Self::Nm { n, m, along: Along::Taps } => write!(f, "{n}:{m} taps"),
            Self::Block { rows, cols } => write!(f, "block {rows}x{cols}"),
            Self::Channel { axis: Axis::Output } => write!(f, "channel"),
            Self::Channel { axis: Axis::Input } => write!(f, "input channel"),
            Self::Kernel { axis } => write!(f, "kernel axis {axis}"),
            Self::Head { size, axis } => {
                write!(f, "{}", if *axis == Axis::Output { "head" } else { "input head" })?;
                size.map_or(Ok(()), |size| write!(f, " of {size}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_recipe_is_read_and_written() {
        for (text, granularity) in [
            (r#""element""#, Granularity::Element),
            (r#""channel""#, Granularity::CHANNEL),
            (r#""2:4""#, Granularity::Nm { n: 2, m: 4, along: Along::Inputs }),
            (r#""2:4 taps""#, Granularity::Nm { n: 2, m: 4, along: Along::Taps }),
            (r#"{"kind":"nm","n":1,"m":8}"#, Granularity::Nm { n: 1, m: 8, along: Along::Inputs }),
            (r#"{"kind":"nm","n":1,"m":8,"along":"taps"}"#, Granularity::Nm { n: 1, m: 8, along: Along::Taps }),
            (r#"{"kind":"channel","axis":"input"}"#, Granularity::Channel { axis: Axis::Input }),
            (r#"{"kind":"block","rows":2,"cols":8}"#, Granularity::Block { rows: 2, cols: 8 }),
            (r#"{"kind":"head","size":64}"#, Granularity::Head { size: Some(64), axis: Axis::Output }),
            (r#""head""#, Granularity::HEAD),
            (r#"{"kind":"head","size":8,"axis":"input"}"#, Granularity::Head { size: Some(8), axis: Axis::Input }),
            (r#"{"kind":"kernel","axis":1}"#, Granularity::Kernel { axis: 1 }),
            (r#"{"kind":"head","axis":"input"}"#, Granularity::Head { size: None, axis: Axis::Input }),
        ] {
            assert_eq!(serde_json::from_str::<Granularity>(text).unwrap(), granularity);
            let written = serde_json::to_string(&granularity).unwrap();
            assert_eq!(serde_json::from_str::<Granularity>(&written).unwrap(), granularity);
        }
        for text in [
            r#""4:2""#,
            r#""0:4""#,
            r#""elemnt""#,
            r#"{"kind":"block","rows":0,"cols":8}"#,
            r#""1:128""#,
            r#""2:4 rows""#,
            r#"{"kind":"nm","n":1,"m":8,"along":"rows"}"#,
            r#"{"kind":"head","size":0}"#,
            r#"{"kind":"kernel"}"#,
            r#"{"kind":"kernel","axis":"input"}"#,
        ] {
            assert!(serde_json::from_str::<Granularity>(text).is_err(), "{text}");
        }
    }
}
