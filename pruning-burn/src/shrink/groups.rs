//! The coupled channels of a model, with names: [`ChannelGroups`].

use crate::layer_types::{self, Size};
use crate::layers::layer_path;
use crate::trace::{Analysis, AxisRules, GroupError, Trace};
use pruning_core::graph::{Dim, Factor, FieldChange, Group, Groups, Product, Totals};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};
use std::fmt;

/// An axis of a parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AxisOf {
    /// The path of the parameter.
    pub path: String,
    /// The index of the axis.
    pub axis: usize,
    /// The names of the operations that use the parameter.
    pub operations: Vec<String>,
}

impl fmt::Display for AxisOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.path, self.axis)?;
        if self.operations.is_empty() { Ok(()) } else { write!(f, " ({})", self.operations.join(", ")) }
    }
}

/// A group of channels that are removed together from every axis they lie on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ChannelGroup {
    /// The axes that the channels lie on.
    pub axes: Vec<AxisOf>,
    /// The positions of each unit along each axis.
    pub units: Vec<Vec<Vec<usize>>>,
    /// Whether a unit is a part of a split axis, such as a head.
    pub split: bool,
}

/// The coupled groups of a trace, and the axes that keep all their channels.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ChannelGroups {
    /// The groups of coupled channels.
    pub groups: Vec<ChannelGroup>,
    /// The axes with channels that must stay, each with the reason.
    pub fixed: Vec<(AxisOf, String)>,
}

impl fmt::Display for ChannelGroups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for group in &self.groups {
            let size = group.units.first().map_or(0, |u| u[0].len());
            write!(f, "{} units", group.units.len())?;
            if size > 1 {
                write!(f, " of {size}")?;
            }
            writeln!(f, ":")?;
            group.axes.iter().try_for_each(|axis| writeln!(f, "  {axis}"))?;
        }
        for (axis, why) in &self.fixed {
            writeln!(f, "stays: {axis}: {why}")?;
        }
        Ok(())
    }
}

/// A solved trace.
#[derive(Debug)]
pub(crate) struct Solved<'a> {
    pub(crate) analysis: Analysis<'a>,
    pub(crate) groups: Groups,
    /// The trace's index of each parameter of the graph.
    pub(crate) params: Vec<usize>,
}

impl<'a> Solved<'a> {
    pub(crate) fn new(trace: &'a Trace, rules: &AxisRules, prefer: Factor) -> Result<Self, GroupError> {
        let analysis = Analysis::new(trace, rules)?;
        let mut groups = analysis.solve(prefer);
        // The only unit of its axes cannot be removed.
        groups.groups.retain(|g| g.units.len() > 1);
        let mut params: Vec<_> = analysis.index.iter().enumerate().filter_map(|(p, i)| Some(((*i)?, p))).collect();
        params.sort_unstable();
        let params = params.into_iter().map(|(_, p)| p).collect();
        Ok(Self { analysis, groups, params })
    }

    pub(crate) fn path(&self, param: usize) -> &str {
        self.analysis.trace.params[self.params[param]].path()
    }

    pub(crate) fn axis(&self, param: usize, axis: usize) -> AxisOf {
        let operations = self.analysis.users(self.params[param]);
        AxisOf { path: self.path(param).to_string(), axis, operations }
    }

    /// Returns a function that tells whether a label is removed with these sets.
    ///
    /// It looks up without hashing, since there are as many labels as channels of all tensors together.
    pub(crate) fn gone(&self, removed: &HashSet<u32>) -> impl Fn(u32) -> bool + '_ {
        let last = removed.iter().max().map_or(0, |&l| l as usize + 1);
        let mut marked = vec![false; last];
        removed.iter().for_each(|&l| marked[l as usize] = true);
        move |label| marked.get(self.groups.set_of(label) as usize).is_some_and(|&gone| gone)
    }

    /// Returns the cost that is left if these sets are removed.
    pub(crate) fn totals(&self, removed: &HashSet<u32>) -> Totals {
        let gone = self.gone(removed);
        let left = |dim: &Dim| match dim {
            Dim::Fixed(size) => *size as u64,
            Dim::Free { labels, .. } if removed.is_empty() => labels.len() as u64,
            Dim::Free { labels, .. } => labels.iter().filter(|&&l| !gone(l)).count() as u64,
        };
        let trace = self.analysis.trace;
        let parameters = trace.params.iter().enumerate().filter(|(_, p)| p.float && !p.is_buffer()).map(|(i, p)| {
            match self.analysis.index[i] {
                Some(index) => self.analysis.graph.dims(index).iter().map(left).product::<u64>(),
                None => p.shape.iter().map(|&s| s as u64).product(),
            }
        });
        let macs = self.analysis.contractions.iter().map(|c| c.dims.iter().map(left).product::<u64>());
        Totals::new(parameters.sum(), macs.sum())
    }

    /// Returns the products that are left if these sets are removed.
    pub(crate) fn products(&self, removed: &HashSet<u32>) -> Vec<Product> {
        let left = |dim: &Dim| match dim {
            Dim::Fixed(size) => *size as u64,
            Dim::Free { labels, .. } => {
                labels.iter().filter(|&&l| !removed.contains(&self.groups.set_of(l))).count() as u64
            }
        };
        let trace = self.analysis.trace;
        let products = self.analysis.contractions.iter().map(|c| {
            let op = &trace.operations[c.operation];
            let outputs = op.outputs().next().and_then(|t| self.analysis.dims.get(&t.id));
            let weight = self.analysis.weight_in(op).map(|p| trace.params[p].path().to_string()).unwrap_or_default();
            let outputs = outputs.map_or(0, |dims| dims.iter().map(left).product());
            Product::new(weight, c.dims.iter().map(left).product(), outputs)
        });
        products.collect()
    }

    /// Returns the fields that change if these sets are removed.
    pub(crate) fn fields(&self, removed: &HashSet<u32>) -> Vec<FieldChange> {
        let gone = self.gone(removed);
        let left = |dim: &Dim| match dim {
            Dim::Fixed(size) => *size,
            Dim::Free { labels, .. } => labels.iter().filter(|&&l| !gone(l)).count(),
        };
        let trace = self.analysis.trace;
        let mut fields = BTreeMap::new();
        for grouped in &self.analysis.grouped {
            let Some(param) = self.analysis.weight_of(grouped.weight) else { continue };
            if left(&grouped.groups) < grouped.groups.len() {
                let traced = &trace.params[param];
                let field = layer_types::of(traced.kind()).groups_field();
                fields.insert(under(layer_path(traced.path()), field), left(&grouped.groups));
            }
        }
        for (param, traced) in trace.params.iter().enumerate() {
            let Some(dims) = self.analysis.index[param].map(|i| self.analysis.graph.dims(i)) else { continue };
            let shrinks = dims.first().is_some_and(|d| left(d) < d.len());
            for (at, (kind, path)) in traced.owners.iter().enumerate() {
                let own = at + 1 == traced.owners.len();
                for size in layer_types::of(kind).sizes {
                    let (field, value) = match *size {
                        Size::Channels(field) if own && shrinks => (field, Some(left(&dims[0]))),
                        // Whole groups are removed, so the remaining ones keep their size.
                        Size::NormGroups(field) if own && shrinks => {
                            let groups = self.analysis.norm_groups(param);
                            (field, groups.map(|groups| groups * left(&dims[0]) / dims[0].len()))
                        }
                        Size::State(field, end) if shrinks && traced.within(path).ends_with(end) => {
                            (field, Some(left(&dims[0])))
                        }
                        Size::Head(field, weight) if traced.within(path) == weight => {
                            (field, self.head_size(traced.path(), dims, removed))
                        }
                        _ => continue,
                    };
                    fields.extend(value.map(|value| (under(path, field), value)));
                }
            }
        }
        fields.into_iter().map(|(path, value)| FieldChange::new(path, value)).collect()
    }

    /// Returns the channels left in each head of our own attention, if heads become smaller.
    fn head_size(&self, queries: &str, dims: &[Dim], removed: &HashSet<u32>) -> Option<usize> {
        let Dim::Free { labels, .. } = dims.get(1)? else { return None };
        let heads = self.analysis.heads_of(queries.strip_suffix("weight")?)?;
        let size = labels.len() / heads.max(1);
        let gone = |l: &u32| removed.contains(&self.groups.set_of(*l));
        let whole = labels.chunks(size.max(1)).all(|head| head.iter().all(gone) || !head.iter().any(gone));
        let left = labels.iter().filter(|l| !gone(l)).count();
        (!whole).then(|| left / heads.max(1))
    }

    /// Converts to the public form, with names.
    pub(crate) fn named(&self) -> ChannelGroups {
        let groups = self.groups.groups.iter().map(|g| self.named_group(g)).collect();
        let fixed = self.groups.pinned.iter().map(|p| (self.axis(p.member.param, p.member.axis), p.why.clone()));
        ChannelGroups { groups, fixed: fixed.collect() }
    }

    fn named_group(&self, group: &Group) -> ChannelGroup {
        ChannelGroup {
            axes: group.members.iter().map(|m| self.axis(m.param, m.axis)).collect(),
            units: group.units.iter().map(|u| u.positions.clone()).collect(),
            split: group.split,
        }
    }
}

/// Returns the path of a field of the module at `path`, which is empty for the root.
fn under(path: &str, field: &str) -> String {
    if path.is_empty() { field.to_string() } else { format!("{path}.{field}") }
}

impl Trace {
    /// Returns the channels that can only be removed together.
    ///
    /// `prefer` tells which units a split axis has: the heads ([`Factor::Outer`]) or the channels in each head
    /// ([`Factor::Inner`]).
    ///
    /// ```
    /// use burn::{nn::{Linear, LinearConfig}, tensor::{Device, Tensor}};
    /// use pruning_burn::{shrink::Factor, trace::{AxisRules, Trace}};
    ///
    /// let device = Device::flex();
    /// let model = vec![LinearConfig::new(8, 16).init(&device), LinearConfig::new(16, 4).init(&device)];
    /// let x = Tensor::<2>::ones([1, 8], &device);
    /// let trace = Trace::record(&model, |model: &Vec<Linear>, scope| {
    ///     let x = scope.input(&x);
    ///     scope.output(model[1].forward(model[0].forward(x)));
    /// })?;
    /// let groups = trace.groups(Factor::Outer, &AxisRules::new())?.groups;
    /// let axes: Vec<_> = groups[0].axes.iter().map(|axis| (axis.path.as_str(), axis.axis)).collect();
    /// assert_eq!(axes, [("0.weight", 1), ("0.bias", 0), ("1.weight", 0)]);
    /// assert_eq!((groups.len(), groups[0].units.len()), (1, 16));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The rules are strict, and an operation on channels has none.
    pub fn groups(&self, prefer: Factor, rules: &AxisRules) -> Result<ChannelGroups, GroupError> {
        Ok(Solved::new(self, rules, prefer)?.named())
    }
}
