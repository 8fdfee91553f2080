//! Parameters of any rank: [`Held`].

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};

macro_rules! held {
    ($($rank:literal: $variant:ident),+) => {
        /// A parameter of one to six axes.
        #[derive(Clone, Debug)]
        pub(crate) enum Held {
            $($variant(Param<Tensor<$rank>>)),+
        }

        impl Held {
            pub(crate) fn visit(&self, visitor: &mut impl ModuleVisitor) {
                match self { $(Self::$variant(param) => Module::visit(param, visitor)),+ }
            }

            #[must_use]
            pub(crate) fn map(self, mapper: &mut impl ModuleMapper) -> Self {
                match self { $(Self::$variant(param) => Self::$variant(Module::map(param, mapper))),+ }
            }

            #[must_use]
            pub(crate) fn materialize(self) -> Self {
                match self { $(Self::$variant(param) => Self::$variant(Module::materialize(param))),+ }
            }

            #[must_use]
            pub(crate) fn on_device(self, device: &Device) -> Self {
                match self { $(Self::$variant(param) => Self::$variant(Module::to_device(param, device))),+ }
            }

            /// The values, under a mask if there is one, in memory order.
            pub(crate) fn values(&self) -> Tensor<1> {
                match self {
                    $(Self::$variant(param) => {
                        let value = param.val();
                        let len = value.shape().num_elements();
                        value.reshape([len])
                    })+
                }
            }

            /// A parameter of the rank of a shape of one to six axes.
            pub(crate) fn lazy(rank: usize, make: &impl Make) -> Option<Self> {
                match rank {
                    $($rank => Some(Self::$variant(make.lazy::<$rank>())),)+
                    _ => None,
                }
            }
        }
    };
}
held!(1: One, 2: Two, 3: Three, 4: Four, 5: Five, 6: Six);

/// Whoever makes a parameter of some rank.
pub(crate) trait Make {
    fn lazy<const D: usize>(&self) -> Param<Tensor<D>>;
}
