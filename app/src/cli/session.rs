//! What drivers are told by way of the environment, before any of them is asked for anything.

#![cfg_attr(
    target_os = "linux",
    expect(unsafe_code, reason = "the environment is changed, while there is no other thread")
)]

/// Without a session (over ssh, in a container, from a timetable) every look for a GPU would begin
/// with "error: XDG_RUNTIME_DIR is invalid or not set", said by a library for windows that a driver
/// asks. It is quiet about a folder in which there is no window system. To be called before there is
/// another thread.
#[cfg(target_os = "linux")]
pub fn quiet_drivers() {
    const FOLDER: &str = "XDG_RUNTIME_DIR";
    if std::env::var_os(FOLDER).is_none_or(|folder| !std::path::Path::new(&folder).is_absolute()) {
        // SAFETY: nothing was started yet that could read the environment at the same time.
        unsafe {
            // Where nobody can put anything that would be taken for a window system.
            std::env::set_var(FOLDER, "/nonexistent");
        }
    }
}

/// Elsewhere they say nothing of the kind.
#[cfg(not(target_os = "linux"))]
pub fn quiet_drivers() {}

/// Has Mesa fill a window's pixels by one thread where the processor draws, unless somebody wants it
/// otherwise. Several wait for each other dozens of times a frame, each time for one that trains to
/// have had its turn. To be called before there is another thread.
#[cfg(target_os = "linux")]
pub fn draw_by_one_thread() {
    const THREADS: &str = "LP_NUM_THREADS";
    if std::env::var_os(THREADS).is_none() {
        // SAFETY: nothing was started yet that could read the environment at the same time.
        unsafe {
            std::env::set_var(THREADS, "1");
        }
    }
}

/// Elsewhere there is no Mesa.
#[cfg(not(target_os = "linux"))]
pub fn draw_by_one_thread() {}
