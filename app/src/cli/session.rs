//! What drivers say where nobody has a session: over ssh, in a container, from a timetable.

#![cfg_attr(
    target_os = "linux",
    expect(unsafe_code, reason = "the environment is changed, while there is no other thread")
)]

/// Without a session every look for a GPU would begin with "error: XDG_RUNTIME_DIR is invalid or not
/// set", said by a library for windows that a driver asks. It is quiet about a folder in which there
/// is no window system. To be called before there is another thread.
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
