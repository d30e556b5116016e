//! Vectors of 32-bit floats, and the choice of instruction set at run time.
//!
//! A kernel is written once, generic over [`Simd`] and `#[inline(always)]`. [`dispatch`] enters it
//! through a function that is compiled for the chosen instruction set, into which everything is
//! inlined; so the vector types never cross a real call.
#![expect(
    unsafe_code,
    reason = "vector instructions are called once the processor was found to have them"
)]

use std::sync::OnceLock;

/// Instruction sets that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstructionSet {
    /// Portable code, for whatever the program was built for: 4 floats at a time, without fused
    /// multiply-add on x86.
    Portable,
    /// AVX2 with FMA: 8 floats a vector.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 F, BW, DQ and VL: 16 floats a vector.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// 4 floats a vector.
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl InstructionSet {
    /// Every instruction set that this processor can run, the fastest last.
    pub fn available() -> Vec<Self> {
        #[cfg_attr(
            not(any(target_arch = "x86_64", target_arch = "aarch64")),
            expect(unused_mut, reason = "there is nothing to add on other processors")
        )]
        let mut sets = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                sets.push(Self::Avx2);
                let parts = [
                    is_x86_feature_detected!("avx512f"),
                    is_x86_feature_detected!("avx512bw"),
                    is_x86_feature_detected!("avx512dq"),
                    is_x86_feature_detected!("avx512vl"),
                ];
                if parts == [true; 4] {
                    sets.push(Self::Avx512);
                }
            }
        }
        #[cfg(target_arch = "aarch64")]
        sets.push(Self::Neon);
        sets
    }

    /// Floats in one of its vectors.
    pub fn lanes(self) -> usize {
        dispatch(self, Size).lanes
    }

    /// Vector registers it has.
    pub(super) fn registers(self) -> usize {
        dispatch(self, Size).registers
    }

    /// Its name in the environment variable of [`InstructionSet::best`].
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => "avx512",
            #[cfg(target_arch = "aarch64")]
            Self::Neon => "neon",
        }
    }

    /// The fastest that this processor can run, or the one that the environment variable
    /// `COUNTERWEIGHT_INSTRUCTIONS` names, if it can run that: so tests and benchmarks can see the
    /// others at work.
    pub fn best() -> Self {
        static BEST: OnceLock<InstructionSet> = OnceLock::new();
        *BEST.get_or_init(|| {
            let available = Self::available();
            let named = std::env::var("COUNTERWEIGHT_INSTRUCTIONS").unwrap_or_default();
            let named = available.iter().find(|set| set.name() == named);
            *named.or(available.last()).expect("there is always the portable one")
        })
    }
}

/// Asks for the cache line at a place to be brought into the second-level cache, where processors
/// can be asked. Nothing happens where there is no memory.
#[inline(always)]
pub(super) fn prefetch(place: *const f32) {
    // SAFETY: every processor of this kind has the instruction, which reads nothing.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T1 }>(place.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}

/// As [`prefetch`], into the first-level cache: for what is read next.
#[inline(always)]
pub(super) fn prefetch_near(place: *const f32) {
    // SAFETY: as above.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(place.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}

/// Arithmetic on one vector of floats.
///
/// # Safety
/// The functions of an implementation may only run on a processor with its instruction set, inside
/// a function compiled for it.
pub(crate) trait Simd {
    /// Floats in a vector.
    const LANES: usize;
    /// Vector registers there are; kernels choose their blocks by it.
    const REGISTERS: usize;
    type V: Copy;

    unsafe fn splat(value: f32) -> Self::V;
    unsafe fn load(from: *const f32) -> Self::V;
    unsafe fn store(to: *mut f32, value: Self::V);
    /// a · b + c, rounded once where the instruction set can.
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    /// The lesser of a bound and a value; a value that is no number stays.
    unsafe fn min(bound: Self::V, value: Self::V) -> Self::V;
    /// The greater of a bound and a value; a value that is no number stays.
    unsafe fn max(bound: Self::V, value: Self::V) -> Self::V;
    /// The sum of the lanes.
    unsafe fn sum(a: Self::V) -> f32;
    /// Lane `from[n]` of the vector in lane n, `from` being loaded from numbers below
    /// [`LANES`](Simd::LANES) as [`places`] writes them.
    unsafe fn permute(a: Self::V, from: Self::V) -> Self::V;
}

/// Numbers of lanes for [`Simd::permute`].
pub(super) fn places(of: impl Fn(usize) -> usize) -> [f32; 16] {
    std::array::from_fn(|lane| f32::from_bits(of(lane) as u32))
}

/// What can be run on every instruction set.
pub(crate) trait Kernel {
    type Output;
    /// # Safety
    /// Only [`dispatch`] calls this; see [`Simd`].
    unsafe fn run<S: Simd>(self) -> Self::Output;
}

/// Asks an instruction set for its size.
struct Size;

struct SizeFound {
    lanes: usize,
    registers: usize,
}

impl Kernel for Size {
    type Output = SizeFound;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> SizeFound {
        SizeFound { lanes: S::LANES, registers: S::REGISTERS }
    }
}

/// Runs a kernel with the given instruction set.
pub(crate) fn dispatch<K: Kernel>(set: InstructionSet, kernel: K) -> K::Output {
    match set {
        // SAFETY: portable code needs no particular processor.
        InstructionSet::Portable => unsafe { kernel.run::<Portable>() },
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx2 => {
            #[target_feature(enable = "avx2,fma")]
            fn enter<K: Kernel>(kernel: K) -> K::Output {
                // SAFETY: this function is compiled for the instruction set, and its caller has
                // made sure of the processor.
                unsafe { kernel.run::<x86::Avx2>() }
            }
            assert!(is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"));
            // SAFETY: the processor was just asked.
            unsafe { enter(kernel) }
        }
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx512 => {
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            fn enter<K: Kernel>(kernel: K) -> K::Output {
                // SAFETY: as above.
                unsafe { kernel.run::<x86::Avx512>() }
            }
            assert!(is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw"));
            assert!(is_x86_feature_detected!("avx512dq") && is_x86_feature_detected!("avx512vl"));
            // SAFETY: the processor was just asked.
            unsafe { enter(kernel) }
        }
        #[cfg(target_arch = "aarch64")]
        // SAFETY: every 64-bit Arm processor has NEON.
        InstructionSet::Neon => unsafe { kernel.run::<arm::Neon>() },
    }
}

/// Four floats, which compilers put into a vector where there is one.
pub(crate) struct Portable;

/// The same in every lane.
#[inline(always)]
fn lanes(of: impl Fn(usize) -> f32) -> [f32; 4] {
    [of(0), of(1), of(2), of(3)]
}

impl Simd for Portable {
    const LANES: usize = 4;
    const REGISTERS: usize = 16;
    type V = [f32; 4];

    #[inline(always)]
    unsafe fn splat(value: f32) -> [f32; 4] {
        [value; 4]
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> [f32; 4] {
        // SAFETY: the caller passes the address of four floats; an array asks for no more alignment
        // than they do.
        unsafe { from.cast::<[f32; 4]>().read() }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, value: [f32; 4]) {
        // SAFETY: as above.
        unsafe { to.cast::<[f32; 4]>().write(value) }
    }
    #[inline(always)]
    unsafe fn fma(a: [f32; 4], b: [f32; 4], c: [f32; 4]) -> [f32; 4] {
        // A fused operation that the processor lacks is a call of a slow function.
        match cfg!(any(target_feature = "fma", target_arch = "aarch64")) {
            true => lanes(|i| a[i].mul_add(b[i], c[i])),
            false => lanes(|i| a[i] * b[i] + c[i]),
        }
    }
    #[inline(always)]
    unsafe fn add(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        lanes(|i| a[i] + b[i])
    }
    #[inline(always)]
    unsafe fn sub(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        lanes(|i| a[i] - b[i])
    }
    #[inline(always)]
    unsafe fn mul(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        lanes(|i| a[i] * b[i])
    }
    #[inline(always)]
    unsafe fn min(bound: [f32; 4], value: [f32; 4]) -> [f32; 4] {
        lanes(|i| if bound[i] < value[i] { bound[i] } else { value[i] })
    }
    #[inline(always)]
    unsafe fn max(bound: [f32; 4], value: [f32; 4]) -> [f32; 4] {
        lanes(|i| if bound[i] > value[i] { bound[i] } else { value[i] })
    }
    #[inline(always)]
    unsafe fn sum(a: [f32; 4]) -> f32 {
        (a[0] + a[2]) + (a[1] + a[3])
    }
    #[inline(always)]
    unsafe fn permute(a: [f32; 4], from: [f32; 4]) -> [f32; 4] {
        lanes(|i| a[from[i].to_bits() as usize & 3])
    }
}

/// One float: what is left where channels do not fill a vector.
pub(crate) struct Single;

impl Simd for Single {
    const LANES: usize = 1;
    const REGISTERS: usize = 16;
    type V = f32;

    #[inline(always)]
    unsafe fn splat(value: f32) -> f32 {
        value
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> f32 {
        // SAFETY: the caller passes the address of a float.
        unsafe { from.read() }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, value: f32) {
        // SAFETY: as above.
        unsafe { to.write(value) }
    }
    #[inline(always)]
    unsafe fn fma(a: f32, b: f32, c: f32) -> f32 {
        a * b + c
    }
    #[inline(always)]
    unsafe fn add(a: f32, b: f32) -> f32 {
        a + b
    }
    #[inline(always)]
    unsafe fn sub(a: f32, b: f32) -> f32 {
        a - b
    }
    #[inline(always)]
    unsafe fn mul(a: f32, b: f32) -> f32 {
        a * b
    }
    #[inline(always)]
    unsafe fn min(bound: f32, value: f32) -> f32 {
        if bound < value { bound } else { value }
    }
    #[inline(always)]
    unsafe fn max(bound: f32, value: f32) -> f32 {
        if bound > value { bound } else { value }
    }
    #[inline(always)]
    unsafe fn sum(a: f32) -> f32 {
        a
    }
    #[inline(always)]
    unsafe fn permute(a: f32, _from: f32) -> f32 {
        a
    }
}

/// Implements [`Simd`] by one intrinsic a function.
macro_rules! by_intrinsics {
    ($name:ident, $vector:ty, $lanes:literal, $registers:literal, $splat:ident, $load:ident, $store:ident, $add:ident, $sub:ident, $mul:ident, $min:ident, $max:ident, $fma:ident, $sum:ident, $permute:ident) => {
        pub(in super::super) struct $name;

        // SAFETY, for every call below: the trait's contract says that the processor has the
        // instruction set, and that addresses given can be read or written for a whole vector; none
        // needs to be aligned.
        impl Simd for $name {
            const LANES: usize = $lanes;
            const REGISTERS: usize = $registers;
            type V = $vector;
            #[inline(always)]
            unsafe fn splat(value: f32) -> $vector {
                unsafe { $splat(value) }
            }
            #[inline(always)]
            unsafe fn load(from: *const f32) -> $vector {
                unsafe { $load(from) }
            }
            #[inline(always)]
            unsafe fn store(to: *mut f32, value: $vector) {
                unsafe { $store(to, value) }
            }
            #[inline(always)]
            unsafe fn fma(a: $vector, b: $vector, c: $vector) -> $vector {
                unsafe { $fma(a, b, c) }
            }
            #[inline(always)]
            unsafe fn add(a: $vector, b: $vector) -> $vector {
                unsafe { $add(a, b) }
            }
            #[inline(always)]
            unsafe fn sub(a: $vector, b: $vector) -> $vector {
                unsafe { $sub(a, b) }
            }
            #[inline(always)]
            unsafe fn mul(a: $vector, b: $vector) -> $vector {
                unsafe { $mul(a, b) }
            }
            // The x86 instructions give the second operand where either is no number, the others
            // what is no number.
            #[inline(always)]
            unsafe fn min(bound: $vector, value: $vector) -> $vector {
                unsafe { $min(bound, value) }
            }
            #[inline(always)]
            unsafe fn max(bound: $vector, value: $vector) -> $vector {
                unsafe { $max(bound, value) }
            }
            #[inline(always)]
            unsafe fn sum(a: $vector) -> f32 {
                unsafe { $sum(a) }
            }
            #[inline(always)]
            unsafe fn permute(a: $vector, from: $vector) -> $vector {
                unsafe { $permute(a, from) }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::Simd;

    #[inline(always)]
    unsafe fn sum_of_8(a: __m256) -> f32 {
        // SAFETY: the caller has AVX2.
        unsafe {
            let half = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
            let pair = _mm_add_ps(half, _mm_movehl_ps(half, half));
            _mm_cvtss_f32(_mm_add_ss(pair, _mm_movehdup_ps(pair)))
        }
    }

    #[inline(always)]
    unsafe fn permute_8(a: __m256, from: __m256) -> __m256 {
        // SAFETY: the caller has AVX2.
        unsafe { _mm256_permutevar8x32_ps(a, _mm256_castps_si256(from)) }
    }

    #[inline(always)]
    unsafe fn permute_16(a: __m512, from: __m512) -> __m512 {
        // SAFETY: the caller has AVX-512.
        unsafe { _mm512_permutexvar_ps(_mm512_castps_si512(from), a) }
    }

    by_intrinsics!(
        Avx2,
        __m256,
        8,
        16,
        _mm256_set1_ps,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        _mm256_add_ps,
        _mm256_sub_ps,
        _mm256_mul_ps,
        _mm256_min_ps,
        _mm256_max_ps,
        _mm256_fmadd_ps,
        sum_of_8,
        permute_8
    );
    by_intrinsics!(
        Avx512,
        __m512,
        16,
        32,
        _mm512_set1_ps,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_add_ps,
        _mm512_sub_ps,
        _mm512_mul_ps,
        _mm512_min_ps,
        _mm512_max_ps,
        _mm512_fmadd_ps,
        _mm512_reduce_add_ps,
        permute_16
    );
}

#[cfg(target_arch = "aarch64")]
mod arm {
    use std::arch::aarch64::*;

    use super::Simd;

    /// The instruction takes the summand first.
    #[inline(always)]
    unsafe fn fma(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        // SAFETY: every 64-bit Arm processor has NEON.
        unsafe { vfmaq_f32(c, a, b) }
    }

    #[inline(always)]
    unsafe fn permute_4(a: float32x4_t, from: float32x4_t) -> float32x4_t {
        let (mut values, mut places) = ([0.0f32; 4], [0.0f32; 4]);
        // SAFETY: every 64-bit Arm processor has NEON, and the arrays have four floats.
        unsafe {
            vst1q_f32(values.as_mut_ptr(), a);
            vst1q_f32(places.as_mut_ptr(), from);
            let moved: [f32; 4] =
                std::array::from_fn(|lane| values[places[lane].to_bits() as usize & 3]);
            vld1q_f32(moved.as_ptr())
        }
    }

    by_intrinsics!(
        Neon,
        float32x4_t,
        4,
        32,
        vdupq_n_f32,
        vld1q_f32,
        vst1q_f32,
        vaddq_f32,
        vsubq_f32,
        vmulq_f32,
        vminq_f32,
        vmaxq_f32,
        fma,
        vaddvq_f32,
        permute_4
    );
}
