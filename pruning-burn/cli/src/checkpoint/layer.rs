//! What name and shape of a tensor tell of its layer: [`kind`], [`layout`].

use crate::checkpoint::tensor::TensorEntry;
use std::collections::{BTreeMap, HashMap};

/// The convention by which weights of linear layers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Layout {
    /// `[outputs, inputs]`, as PyTorch stores them.
    Pytorch,
    /// `[inputs, outputs]`, as Burn stores them.
    Burn,
}

impl std::fmt::Display for Layout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Pytorch => "PyTorch",
            Self::Burn => "Burn",
        })
    }
}

/// A name as the path of the layer and the field in it.
fn parts(name: &str) -> (&str, &str) {
    name.rsplit_once('.').unwrap_or(("", name))
}

/// The shapes of all tensors, by name.
pub(crate) type Shapes<'a> = HashMap<&'a str, &'a [usize]>;

/// The types that a user may give to a layer.
pub(crate) const KINDS: [&str; 13] = [
    "Linear",
    "Embedding",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "BatchNorm",
    "LayerNorm",
    "GroupNorm",
    "RmsNorm",
    "Tensor",
];

/// Returns Burn's name for the type of the layer that a tensor belongs to; `Tensor` where nothing tells it.
pub(crate) fn kind(name: &str, all: &Shapes<'_>) -> &'static str {
    let (layer, field) = parts(name);
    let beside =
        |field: &str| all.get(if layer.is_empty() { field.to_string() } else { format!("{layer}.{field}") }.as_str());
    if beside("running_mean").is_some() {
        return "BatchNorm";
    }
    if beside("gamma").is_some() {
        return "LayerNorm";
    }
    let Some(weight) = beside("weight") else { return "Tensor" };
    let own = layer.rsplit('.').next().unwrap_or("").to_lowercase();
    let transposed = ["transpose", "deconv", "upconv", "up_conv"].iter().any(|part| own.contains(part));
    match (weight.len(), field) {
        (1, _) if own.contains("rms") => "RmsNorm",
        (1, _) => "LayerNorm",
        (2, _) if is_embedding(&own) => "Embedding",
        (2, _) => "Linear",
        (3, _) if transposed => "ConvTranspose1d",
        (3, _) => "Conv1d",
        (4, _) if transposed => "ConvTranspose2d",
        (4, _) => "Conv2d",
        (5, _) if transposed => "ConvTranspose3d",
        (5, _) => "Conv3d",
        _ => "Tensor",
    }
}

/// Whether a layer of this name looks rows up instead of multiplying. `embed_out` is a linear layer.
fn is_embedding(layer: &str) -> bool {
    let known = ["wte", "wpe", "shared", "emb", "relative_attention_bias"];
    known.contains(&layer) || (layer.contains("embed") && !layer.ends_with("_out") && !layer.ends_with("proj"))
}

/// The layouts that biases tell, with the weights beside them: a bias has one value for each output. Square weights tell nothing.
fn votes<'a>(tensors: &'a [TensorEntry], shapes: &Shapes<'_>) -> Vec<(&'a str, Layout)> {
    let vote = |tensor: &'a TensorEntry| {
        let &[first, second] = tensor.shape.as_slice() else { return None };
        let layer = tensor.name.strip_suffix("weight")?;
        let &&[bias] = shapes.get(format!("{layer}bias").as_str())? else { return None };
        match (bias == first, bias == second) {
            (true, false) => Some((tensor.name.as_str(), Layout::Pytorch)),
            (false, true) => Some((tensor.name.as_str(), Layout::Burn)),
            _ => None,
        }
    };
    tensors.iter().filter_map(vote).collect()
}

/// The shapes of tensors.
fn shapes(tensors: &[TensorEntry]) -> Shapes<'_> {
    tensors.iter().map(|tensor| (tensor.name.as_str(), tensor.shape.as_slice())).collect()
}

/// Returns what to tell of a file in which some biases say one layout and some the other.
pub(crate) fn contradiction(tensors: &[TensorEntry]) -> Option<String> {
    let votes = votes(tensors, &shapes(tensors));
    let of = |layout| votes.iter().find(|vote| vote.1 == layout).map(|vote| pruning_burn::shown::name(vote.0));
    let (pytorch, burn) = (of(Layout::Pytorch)?, of(Layout::Burn)?);
    Some(format!(
        "the biases of {pytorch} and {burn} contradict each other on the layout; PyTorch's is taken, or say --layout"
    ))
}

/// Returns the layout of the weights of linear layers, as the biases beside them tell it; nothing for a file in which some say one and
/// some the other.
pub(crate) fn layout(tensors: &[TensorEntry], metadata: &BTreeMap<String, String>) -> Option<Layout> {
    let shapes = shapes(tensors);
    let votes = votes(tensors, &shapes);
    let burn = votes.iter().filter(|vote| vote.1 == Layout::Burn).count();
    // Burn's norms have a `gamma`, with or without a `beta`; a `gamma` of PyTorch scales whole layers.
    let named = |tensor: &TensorEntry| {
        let (layer, field) = parts(&tensor.name);
        field == "gamma"
            && (layer.to_lowercase().contains("norm") || shapes.contains_key(format!("{layer}.beta").as_str()))
    };
    let wrote = metadata.get("producer").is_some_and(|producer| producer == "burn")
        || metadata.keys().any(|text| text.starts_with("pruning."));
    match votes.len() {
        0 if wrote || tensors.iter().any(named) => Some(Layout::Burn),
        0 => None,
        all if burn == all => Some(Layout::Burn),
        _ if burn == 0 => Some(Layout::Pytorch),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::element::ElementType;

    fn of(shape: &[usize], name: &str, beside: &[(&str, &[usize])]) -> &'static str {
        let all: Shapes<'_> = beside.iter().copied().chain([(name, shape)]).collect();
        kind(name, &all)
    }

    #[test]
    fn names_and_shapes_tell_the_layer() {
        assert_eq!(of(&[4, 4], "encoder.layer.0.attention.self.query.weight", &[]), "Linear");
        assert_eq!(of(&[9, 4], "embeddings.word_embeddings.weight", &[]), "Embedding");
        assert_eq!(of(&[9, 4], "transformer.wte.weight", &[]), "Embedding");
        assert_eq!(of(&[9, 4], "embed_out.weight", &[]), "Linear");
        assert_eq!(of(&[9, 4, 2, 2], "patch_embed.proj.weight", &[]), "Conv2d");
        assert_eq!(of(&[9, 4, 2, 2], "up.0.conv_transpose.weight", &[]), "ConvTranspose2d");
        assert_eq!(of(&[9], "layer.0.LayerNorm.weight", &[]), "LayerNorm");
        assert_eq!(of(&[9], "bn1.bias", &[("bn1.weight", &[9]), ("bn1.running_mean", &[9])]), "BatchNorm");
        assert_eq!(of(&[9], "fc.bias", &[("fc.weight", &[9, 4])]), "Linear");
        assert_eq!(of(&[27, 9], "attn.in_proj_weight", &[]), "Tensor");
        assert_eq!(of(&[3, 2], "weight", &[]), "Linear");
    }

    #[test]
    fn biases_tell_the_layout() {
        let tensor =
            |name: &str, shape: &[usize]| TensorEntry::new(name.into(), ElementType::new("F32"), shape.to_vec(), 0);
        let told = |tensors: &[TensorEntry]| layout(tensors, &BTreeMap::new());
        let torch = [tensor("a.weight", &[3, 2]), tensor("a.bias", &[3])];
        let burn = [tensor("b.weight", &[2, 5]), tensor("b.bias", &[5])];
        let square = [tensor("c.weight", &[2, 2]), tensor("c.bias", &[2])];
        assert_eq!(told(&torch), Some(Layout::Pytorch));
        assert_eq!(told(&burn), Some(Layout::Burn));
        assert_eq!(told(&square), None);
        let both = [torch, burn].concat();
        assert_eq!((told(&both), contradiction(&both[..2])), (None, None));
        assert!(contradiction(&both).is_some_and(|told| told.contains("a.weight") && told.contains("b.weight")));
        let norm = [tensor("norm.gamma", &[4]), tensor("fc.weight", &[4, 2])];
        assert_eq!(told(&norm), Some(Layout::Burn));
        assert_eq!(told(&[tensor("block.gamma", &[4])]), None);
    }
}
