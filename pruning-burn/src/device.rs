//! The kinds of processors behind devices: [`DeviceClass`].

use burn::backend::{DeviceOps, DispatchDeviceId};
use burn::tensor::Device;

/// The kind of processor behind a device, with or without autodiff.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeviceClass {
    Cpu,
    Gpu,
    /// A device that only records operations.
    Recorder,
    /// A device on another machine, or one that is newer than this code.
    Unknown,
}

impl DeviceClass {
    /// Returns the class of a device.
    pub(crate) fn of(device: &Device) -> Self {
        Self::by_id(device.as_dispatch().id().type_id)
    }

    /// Returns the class by the id of a device, which means the same in every build.
    ///
    /// Variants of a device exist only with features that this crate cannot see. The upper byte of the id is the backend. The lower byte
    /// describes the device; for CubeCL its upper three bits are the runtime.
    fn by_id(id: u16) -> Self {
        const CUBE: u16 = DispatchDeviceId::Cube as u16;
        const FLEX: u16 = DispatchDeviceId::Flex as u16;
        const NDARRAY: u16 = DispatchDeviceId::NdArray as u16;
        const LIBTORCH: u16 = DispatchDeviceId::LibTorch as u16;
        const CAPTURE: u16 = DispatchDeviceId::Capture as u16;
        match (id >> 8, (id >> 5) & 0x7, id & 0x1F) {
            (FLEX | NDARRAY, ..) => Self::Cpu,
            // The runtime for CPUs, and wgpu on a software driver.
            (CUBE, 4, _) | (CUBE, 3, 3) => Self::Cpu,
            (CUBE, 0..=3, _) => Self::Gpu,
            (LIBTORCH, _, 2) => Self::Cpu,
            (LIBTORCH, ..) => Self::Gpu,
            (CAPTURE, ..) => Self::Recorder,
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_device_that_is_compiled_has_its_class() {
        assert_eq!(DeviceClass::of(&Device::flex()), DeviceClass::Cpu);
        assert_eq!(DeviceClass::of(&Device::flex().autodiff()), DeviceClass::Cpu);
        assert_eq!(DeviceClass::of(&Device::capture()), DeviceClass::Recorder);
        #[cfg(feature = "ndarray")]
        #[allow(deprecated)]
        {
            assert_eq!(DeviceClass::of(&Device::ndarray()), DeviceClass::Cpu);
        }
    }

    #[test]
    fn devices_of_other_builds_have_their_class_by_id() {
        let cube = |runtime: u16, kind: u16| DeviceClass::by_id(runtime << 5 | kind);
        // CUDA, HIP, Metal; a discrete GPU, a software driver and the default of wgpu; the CPU runtime.
        let of_cube = [cube(0, 0), cube(1, 0), cube(2, 0), cube(3, 0), cube(3, 3), cube(3, 4), cube(4, 0)];
        let (cpu, gpu) = (DeviceClass::Cpu, DeviceClass::Gpu);
        assert_eq!(of_cube, [gpu, gpu, gpu, gpu, cpu, gpu, cpu]);
        let torch = |kind: u16| DeviceClass::by_id((DispatchDeviceId::LibTorch as u16) << 8 | kind);
        assert_eq!([torch(0), torch(1), torch(2)], [gpu, gpu, cpu]);
        assert_eq!(DeviceClass::by_id((DispatchDeviceId::Remote as u16) << 8), DeviceClass::Unknown);
    }
}
