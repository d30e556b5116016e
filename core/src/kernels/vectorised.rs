//! Compiling a loop for several instruction sets.

/// Defines a function whose body is compiled for AVX-512, for AVX2 and for what the program is
/// built for; the best that the processor has runs. The body holds no fused multiply-add, so all of
/// them give the same bits.
macro_rules! vectorised {
    ($(#[$attribute:meta])* $visibility:vis fn $name:ident($($argument:ident: $kind:ty),* $(,)?) $body:block) => {
        $(#[$attribute])*
        #[allow(
            clippy::too_many_arguments,
            unsafe_code,
            reason = "some of these functions have many arguments, and on some processors the call \
                      of a function for an instruction set that was found to be there is unsafe"
        )]
        $visibility fn $name($($argument: $kind),*) {
            #[inline(always)]
            fn body($($argument: $kind),*) $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
                fn avx512($($argument: $kind),*) {
                    body($($argument),*)
                }
                #[target_feature(enable = "avx2")]
                fn avx2($($argument: $kind),*) {
                    body($($argument),*)
                }
                match $crate::kernels::InstructionSet::best() {
                    // SAFETY: the processor has every feature that the function is compiled for.
                    $crate::kernels::InstructionSet::Avx512 => return unsafe { avx512($($argument),*) },
                    // SAFETY: as above.
                    $crate::kernels::InstructionSet::Avx2 => return unsafe { avx2($($argument),*) },
                    $crate::kernels::InstructionSet::Portable => {}
                }
            }
            body($($argument),*)
        }
    };
}

pub(super) use vectorised;
