//! Learning from the dense model what the pruned one shall say: [`Distillation`].

use burn::tensor::activation::{log_softmax, softmax};
use burn::tensor::{Int, Tensor};
use serde::{Deserialize, Serialize};

/// The loss of knowledge distillation: soft targets of a teacher, mixed with the labels.
///
/// `alpha * T^2 * KL(softmax(teacher / T) || softmax(student / T)) + (1 - alpha) * cross_entropy(student, labels)`, each the mean
/// over the batch. `T^2` keeps the gradients of the soft part at the size of the other (section 2 of the paper).
///
/// ```
/// # use burn::tensor::{Device, Int, Tensor};
/// use pruning_burn::analyze::distillation::Distillation;
/// # let device = Device::flex();
/// let student = Tensor::<2>::from_data([[2.0, 0.0], [0.0, 1.0]], &device);
/// let teacher = Tensor::<2>::from_data([[3.0, 0.0], [0.0, 2.0]], &device);
/// let labels = Tensor::<1, Int>::from_data([0, 1], &device);
/// let loss = Distillation { temperature: 2.0, alpha: 0.5 }.loss(student, teacher, labels)?;
/// assert_eq!(loss.dims(), [1]);
/// # Ok::<(), pruning_burn::analyze::distillation::DistillationError>(())
/// ```
///
/// # Compatible implementations
/// `T * T * F.kl_div(log_softmax(student / T), log_softmax(teacher / T), log_target=True, reduction="batchmean")` and
/// `F.cross_entropy` of torch.
///
/// # References
/// Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network, 2015, arXiv:1503.02531
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Distillation {
    /// What logits are divided by, above 0: the higher, the more the teacher's second thoughts count. 4 by default.
    pub temperature: f64,
    /// Part of the soft targets, from 0 (labels alone) to 1 (teacher alone). 0.9 by default.
    pub alpha: f64,
}

impl Default for Distillation {
    fn default() -> Self {
        Self { temperature: 4.0, alpha: 0.9 }
    }
}

/// Why there is no loss.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DistillationError {
    /// The temperature divides nothing.
    #[error("temperature {value} must be a finite number above 0, such as 4")]
    Temperature {
        /// The temperature.
        value: f64,
    },
    /// The mixture is none.
    #[error("alpha {value} is outside [0, 1]: it is the part of the teacher in the loss")]
    Alpha {
        /// The part.
        value: f64,
    },
    /// Teacher and student do not speak of the same.
    #[error("the teacher's logits have shape {teacher:?}, the student's {student:?}: both must be [batch, classes]")]
    Shape {
        /// Shape of the student's logits.
        student: [usize; 2],
        /// Shape of the teacher's.
        teacher: [usize; 2],
    },
    /// As many labels as examples are needed.
    #[error("{labels} labels for a batch of {batch}: give one class for each row of logits")]
    Labels {
        /// Rows of logits.
        batch: usize,
        /// Labels.
        labels: usize,
    },
    /// A label is no class of the logits.
    #[error("label {label} at index {index} is none of the {classes} classes of the logits, which are numbered from 0")]
    Label {
        /// Where in the batch.
        index: usize,
        /// The label.
        label: i64,
        /// Columns of the logits.
        classes: usize,
    },
    /// A mean over nothing.
    #[error("the logits have shape {shape:?}: a loss needs one example and one class at least")]
    Empty {
        /// Shape of the logits.
        shape: [usize; 2],
    },
}

impl Distillation {
    /// The loss of a batch.
    ///
    /// The teacher's logits take no gradient, whether they come from its `valid()` form or not. Labels are read from the device, to check
    /// that they are classes of the logits.
    ///
    /// # Shapes
    /// - `student`, `teacher`: `[batch, classes]`, not normalized
    /// - `labels`: `[batch]`
    /// - result: `[1]`
    ///
    /// # Errors
    /// A temperature or part out of range, shapes that do not fit, an empty batch, a label that is no class.
    pub fn loss(
        &self,
        student: Tensor<2>,
        teacher: Tensor<2>,
        labels: Tensor<1, Int>,
    ) -> Result<Tensor<1>, DistillationError> {
        let [batch, classes] = student.dims();
        let soft = self.soft_loss(student.clone(), teacher)?;
        if labels.dims() != [batch] {
            return Err(DistillationError::Labels { batch, labels: labels.dims()[0] });
        }
        let numbers = labels.clone().into_data();
        let wrong =
            numbers.iter::<i64>().enumerate().find(|(_, label)| usize::try_from(*label).map_or(true, |l| l >= classes));
        if let Some((index, label)) = wrong {
            return Err(DistillationError::Label { index, label, classes });
        }
        let hard = log_softmax(student, 1).gather(1, labels.reshape([batch, 1])).mean().neg();
        Ok(soft * self.alpha + hard * (1.0 - self.alpha))
    }

    /// The part of the teacher, without `alpha`: `T^2 * KL(softmax(teacher / T) || softmax(student / T))`. It needs no labels.
    ///
    /// # Shapes
    /// As [`loss`](Self::loss).
    ///
    /// # Errors
    /// As [`loss`](Self::loss).
    pub fn soft_loss(&self, student: Tensor<2>, teacher: Tensor<2>) -> Result<Tensor<1>, DistillationError> {
        let (t, alpha) = (self.temperature, self.alpha);
        if !(t > 0.0 && t.is_finite()) {
            return Err(DistillationError::Temperature { value: t });
        }
        if !(0.0..=1.0).contains(&alpha) {
            return Err(DistillationError::Alpha { value: alpha });
        }
        if student.dims() != teacher.dims() {
            return Err(DistillationError::Shape { student: student.dims(), teacher: teacher.dims() });
        }
        let [batch, classes] = student.dims();
        if batch == 0 || classes == 0 {
            return Err(DistillationError::Empty { shape: student.dims() });
        }
        let teacher = beside(teacher, &student) / t;
        let (wanted, said) = (log_softmax(teacher.clone(), 1), log_softmax(student / t, 1));
        Ok((softmax(teacher, 1) * (wanted - said)).sum() * (t * t / batch as f64))
    }
}

/// The teacher's logits where the student's are, as a constant.
fn beside(teacher: Tensor<2>, student: &Tensor<2>) -> Tensor<2> {
    let device = student.device();
    let teacher = teacher.without_autodiff().to_device(&device.clone().without_autodiff());
    match student.gradient_checkpointing_strategy() {
        Some(strategy) => Tensor::from_inner(teacher).with_gradient_checkpointing_strategy(strategy),
        None => teacher,
    }
}
