//! The rules that tell what each operation does to the axes of its operands: [`AxisRules`].

use crate::layer_types;
use crate::trace::Trace;
use crate::trace::analysis::Analysis;
use crate::trace::arithmetic_rules::Zero;
use crate::trace::name::name;
use crate::trace::shape_rules;
use burn_ir::OperationIr;
use burn_ir::{BaseOperationIr as Base, BoolOperationIr as Bool, FloatOperationIr as Flt, IntOperationIr as Int};
use pruning_core::graph::{Dim, Rule, ShrinkPlan};
use std::collections::BTreeMap;

/// An error that keeps the channels of a trace from being grouped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GroupError {
    /// An operation on channels has no rule, and the rules are strict.
    #[error(
        "operation {index} ({operation}), after {near}: no rule says which channels of its operands belong together; \
         add a rule with `AxisRules::with`, or leave out `AxisRules::with_strict` to keep these channels"
    )]
    NoRule {
        /// The index of the operation in the trace.
        index: usize,
        /// The name of the operation.
        operation: String,
        /// The path of the nearest parameter before it.
        near: String,
    },
}

/// The rules for the axes of operations that this crate does not know, by operation name.
///
/// A name is that of an operation of Burn, such as `cross`, or the id of a custom operation. An operation without a rule keeps
/// all channels of its operands, and [`ChannelGroups::fixed`] names it as the reason.
///
/// ```
/// use burn::{nn::{Linear, LinearConfig}, tensor::{Device, Tensor}};
/// use pruning_burn::{shrink::Factor, trace::{AxisRules, Rule, Trace}};
///
/// let device = Device::flex();
/// let model = LinearConfig::new(4, 3).init(&device);
/// let x = Tensor::<2>::ones([1, 4], &device);
/// let trace = Trace::record(&model, |model: &Linear, scope| {
///     let y = model.forward(scope.input(&x));
///     scope.output(y.clone().cross(y, 1));
/// })?;
/// let strict = AxisRules::new().with_strict();
/// assert!(trace.groups(Factor::Outer, &strict).is_err());
/// let groups = trace.groups(Factor::Outer, &strict.with("cross", Rule::Fixed))?;
/// assert!(groups.fixed.iter().any(|(axis, why)| axis.path == "bias" && why == "`cross` mixes all positions"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// [`ChannelGroups::fixed`]: crate::shrink::ChannelGroups::fixed
#[derive(Clone, Debug, Default)]
pub struct AxisRules {
    pub(crate) by_name: BTreeMap<String, Rule>,
    strict: bool,
    without_code: bool,
}

impl AxisRules {
    /// Creates rules that add nothing to the built-in ones.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a rule for an operation that has none.
    #[must_use]
    pub fn with(mut self, operation: impl Into<String>, rule: Rule) -> Self {
        self.by_name.insert(operation.into(), rule);
        self
    }

    /// Returns the rules of a plan.
    pub(crate) fn of(plan: &ShrinkPlan) -> Self {
        Self { by_name: plan.rules.clone(), ..Self::default() }
    }

    /// Follows what was recorded alone, for plans that [`apply_to_traces`](crate::shrink::apply_to_traces) removes.
    ///
    /// By default channels stay that the code of the module may need: those of Burn's own attention, of a slice whose bounds may be fixed, of a
    /// tensor that the code creates and concatenates. A recorded pass has no code, so they can go.
    #[must_use]
    pub fn without_code(mut self) -> Self {
        self.without_code = true;
        self
    }

    /// Makes an operation on channels without a rule an error ([`GroupError::NoRule`]).
    #[must_use]
    pub fn with_strict(mut self) -> Self {
        self.strict = true;
        self
    }
}

impl<'a> Analysis<'a> {
    /// Follows the axes through all operations.
    pub(crate) fn new(trace: &'a Trace, rules: &AxisRules) -> Result<Self, GroupError> {
        Self::run(trace, rules, false)
    }

    /// Follows the axes with every one of them fixed, to count the cost of products.
    pub(crate) fn costing(trace: &'a Trace) -> Result<Self, GroupError> {
        Self::run(trace, &AxisRules::new(), true)
    }

    fn run(trace: &'a Trace, rules: &AxisRules, costs_only: bool) -> Result<Self, GroupError> {
        let mut this = Self::empty(trace, costs_only);
        this.without_code = rules.without_code;
        if !this.without_code {
            this.chunks = shape_rules::chunks(trace);
        }
        for (index, op) in trace.operations.iter().enumerate() {
            this.follow(index, op, rules)?;
        }
        for id in &trace.outputs {
            let dims = this.known(*id);
            dims.iter().for_each(|d| this.graph.pin(d, "an output of the model"));
        }
        if !this.without_code {
            this.pin_fixed_layers();
        }
        Ok(this)
    }

    fn follow(&mut self, index: usize, op: &OperationIr, rules: &AxisRules) -> Result<(), GroupError> {
        let near = self.weight_in(op).or_else(|| op.inputs().find_map(|t| self.near.get(&t.id)).copied());
        for out in op.outputs() {
            self.near.extend(near.map(|param| (out.id, param)));
        }
        if let OperationIr::BaseFloat(Base::Reshape(_) | Base::SwapDims(_) | Base::Permute(_) | Base::Cast(_)) = op {
            let form = op.inputs().find_map(|t| self.weight_of(t.id));
            self.forms.extend(op.outputs().filter_map(|out| Some((out.id, form?))));
        }
        if !self.costs_only {
            let params: Vec<_> = op.inputs().filter_map(|t| self.weight_of(t.id)).collect();
            for param in params {
                let (users, name) = (self.users.entry(param).or_default(), name(op));
                if name != "reshape" && !users.contains(&name) {
                    users.push(name);
                }
            }
        }
        let free = op.inputs().any(|t| self.of(t).iter().any(Dim::is_free));
        let multiplies = matches!(op, OperationIr::Module(_) | OperationIr::Float(_, Flt::Matmul(_)));
        let fits = matches!(
            op,
            OperationIr::BaseInt(Base::Expand(_) | Base::RepeatDim(_))
                | OperationIr::BaseBool(Base::Expand(_) | Base::RepeatDim(_))
        );
        let creates = op.inputs().next().is_none() || fits;
        if (free || creates || multiplies) && self.known_rule(index, op) {
            return Ok(());
        }
        if !free {
            op.outputs().for_each(|out| self.set_fixed(out));
            return Ok(());
        }
        let operation = name(op);
        let why = match rules.by_name.get(&operation) {
            Some(&Rule::Elementwise { keeps_zero }) => {
                self.elementwise(op, &operation, keeps_zero);
                return Ok(());
            }
            Some(Rule::Fixed) => format!("`{operation}` mixes all positions"),
            None if rules.strict => {
                let near = near.map_or("the inputs", |p| self.trace.params[p].path()).to_string();
                return Err(GroupError::NoRule { index, operation, near });
            }
            None => format!("no rule says what `{operation}` does to channels"),
        };
        for t in op.inputs() {
            let dims = self.of(t);
            self.pin(&dims, &why);
        }
        op.outputs().for_each(|out| self.set_fixed(out));
        Ok(())
    }

    /// Applies a user's element-wise rule: a result depends on the operands at the same position.
    fn elementwise(&mut self, op: &OperationIr, name: &str, keeps_zero: bool) {
        let why = format!("`{name}` joins it with an axis that stays, or with one of another size");
        let mut operands = op.inputs();
        let Some(first) = operands.next() else { return };
        let mut dims = self.of(first);
        for other in operands {
            let other = self.of(other);
            dims = self.graph.broadcast(&dims, &other, false, &why);
        }
        let dims: Vec<_> = dims.iter().map(|d| d.keeping_zero(keeps_zero)).collect();
        op.outputs().for_each(|out| self.set(out, dims.clone()));
    }

    fn known_rule(&mut self, index: usize, op: &OperationIr) -> bool {
        match op {
            OperationIr::BaseFloat(op) => self.base_rule(op, false),
            // Indices and masks take the size of the tensor they are used on.
            OperationIr::BaseInt(op) | OperationIr::BaseBool(op) => self.base_rule(op, true),
            OperationIr::NumericFloat(_, op) | OperationIr::NumericInt(_, op) => self.numeric(op),
            OperationIr::Float(_, op) => self.float(index, op),
            OperationIr::Module(op) => self.module_rule(index, op),
            OperationIr::Activation(op) => self.activation(op),
            OperationIr::Int(Int::Matmul(_)) => false,
            OperationIr::Int(Int::IntoFloat(o)) | OperationIr::Bool(Bool::IntoFloat(o) | Bool::IntoInt(o)) => {
                self.unary(&o.input, &o.out, true);
                true
            }
            OperationIr::Int(_) | OperationIr::Bool(_) => {
                let inputs: Vec<_> = op.inputs().cloned().collect();
                let Some(out) = op.outputs().next() else { return false };
                match &inputs[..] {
                    [one] => self.unary(one, out, false),
                    [a, b] => self.binary(a, b, out, Zero::Never, "element-wise"),
                    _ => return false,
                }
                true
            }
            _ => false,
        }
    }

    /// Pins the channels of Burn's layers whose code cannot have fewer of them.
    fn pin_fixed_layers(&mut self) {
        for (param, traced) in self.trace.params.iter().enumerate() {
            let Some(index) = self.index[param] else { continue };
            let why = traced.owners.iter().find_map(|(kind, path)| {
                let pin = layer_types::of(kind).pin.as_ref()?;
                pin.holds(traced.within(path)).then_some(pin.why)
            });
            if let Some(why) = why {
                let dims = self.graph.dims(index).to_vec();
                self.pin(&dims, why);
            }
        }
    }
}
