//! What a forward pass costs: [`Trace::costs`].

use crate::trace::name::name;
use crate::trace::{Analysis, Trace};
use comfy_table::{Cell, CellAlignment, Table, presets};
use pruning_core::graph::{Dim, Totals};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// The cost of one operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct OperationCost {
    /// Its name.
    pub operation: String,
    /// Path of the weight it multiplies with; empty where there is none, as in attention.
    pub weight: String,
    /// Multiply-accumulates.
    pub macs: u64,
    /// Shape of its result.
    pub output: Vec<usize>,
}

/// Parameters, multiply-accumulates and activations of a forward pass, from real shapes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Costs {
    /// Operations that multiply: matrix products and convolutions.
    pub operations: Vec<OperationCost>,
    /// Float parameters, each once, without running statistics.
    pub parameters: u64,
    /// Entries of all results together.
    pub activations: u64,
    /// Samples in the batch that was traced, if its inputs say so: [`Trace::batch`].
    pub batch: Option<u64>,
}

impl Costs {
    /// Multiply-accumulates of matrix products and convolutions, biases not counted. Twice that are floating point operations.
    #[must_use]
    pub fn macs(&self) -> u64 {
        self.operations.iter().map(|o| o.macs).sum()
    }

    /// The same for one sample of the batch; `None` where the batch is not known, or where not all of them belong to samples.
    #[must_use]
    pub fn macs_of_one(&self) -> Option<u64> {
        Totals { parameters: self.parameters, macs: self.macs() }.macs_of_one(self.batch?)
    }
}

impl fmt::Display for Costs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(presets::UTF8_HORIZONTAL_ONLY);
        table.set_header(["operation", "weight", "output", "MACs"]);
        for o in &self.operations {
            let macs = Cell::new(o.macs).set_alignment(CellAlignment::Right);
            table.add_row([Cell::new(&o.operation), Cell::new(&o.weight), Cell::new(format!("{:?}", o.output)), macs]);
        }
        writeln!(f, "{table}")?;
        write!(f, "{} parameters, {} MACs", self.parameters, self.macs())?;
        if let (Some(batch @ 2..), Some(one)) = (self.batch, self.macs_of_one()) {
            write!(f, " ({one} of one of the {batch} samples)")?;
        }
        write!(f, ", {} activations", self.activations)
    }
}

impl Trace {
    /// What the pass costs.
    ///
    /// MACs are those of matrix products and convolutions, for the batch that was traced; the literature counts those of
    /// [one sample](Costs::macs_of_one).
    #[must_use]
    pub fn costs(&self) -> Costs {
        let parameters = self.params.iter().filter(|p| p.float && !p.is_buffer());
        let outputs = self.operations.iter().flat_map(|op| op.outputs());
        Costs {
            operations: self.products(),
            parameters: parameters.map(|p| p.shape.iter().product::<usize>() as u64).sum(),
            activations: outputs.map(|t| t.shape.num_elements() as u64).sum(),
            batch: self.batch(),
        }
    }

    /// Samples in the batch that was traced: the leading dimension of the declared inputs, where all of them have the same one.
    ///
    /// A network whose inputs lead with another axis, such as time, has the length of that axis here.
    #[must_use]
    pub fn batch(&self) -> Option<u64> {
        let mut leading = self.inputs.iter().map(|input| input.shape.as_slice().first().map(|&size| size as u64));
        let first = leading.next()??;
        leading.all(|size| size == Some(first)).then_some(first)
    }

    /// For each weight that products use: multiply-accumulates for one of its elements.
    pub(crate) fn uses(&self) -> BTreeMap<String, usize> {
        let mut macs: BTreeMap<String, u64> = BTreeMap::new();
        for product in self.products().into_iter().filter(|p| !p.weight.is_empty()) {
            *macs.entry(product.weight).or_default() += product.macs;
        }
        let len = |path: &str| {
            let param = self.params.iter().find(|p| p.paths.iter().any(|known| known == path));
            param.map_or(1, |p| p.shape.iter().product::<usize>().max(1))
        };
        macs.into_iter().map(|(path, macs)| (path.clone(), macs as usize / len(&path))).collect()
    }

    fn products(&self) -> Vec<OperationCost> {
        // No rule can be missing where nothing is free.
        let Ok(analysis) = Analysis::costing(self) else { return Vec::new() };
        let costs = analysis.contractions.iter().map(|c| {
            let op = &self.operations[c.operation];
            let weight = analysis.weight_in(op);
            OperationCost {
                operation: name(op),
                weight: weight.map(|p| self.params[p].path().to_string()).unwrap_or_default(),
                macs: c.dims.iter().map(|d| Dim::len(d) as u64).product(),
                output: op.outputs().next().map(|t| t.shape.as_slice().to_vec()).unwrap_or_default(),
            }
        });
        costs.collect()
    }
}
