//! What a process that runs a model may take.

/// Memory in bytes, in addition to what the file takes while it is read.
pub(super) const MEMORY: u64 = 4 << 30;
/// So many times its size a file takes while it is read, optimised and run.
const COPIES: u64 = 8;

/// Binds this process: its memory, and on Linux that it opens no file, writes none and speaks to
/// nobody. For files of `bytes` bytes. Threads that are there already are not bound by the second.
///
/// What the system does not offer is left out: the process itself is what protects the program.
pub(super) fn bind(bytes: u64) {
    bind_memory(MEMORY.saturating_add(bytes.saturating_mul(COPIES)));
    deny_files();
}

#[cfg(unix)]
fn bind_memory(bytes: u64) {
    use rlimit::Resource;

    let lower = |resource: Resource, wanted: u64| {
        if let Ok((_, hard)) = resource.get() {
            let _ = resource.set(wanted.min(hard), wanted.min(hard));
        }
    };
    lower(Resource::AS, bytes);
    // A crash leaves no copy of somebody's images behind.
    lower(Resource::CORE, 0);
    lower(Resource::FSIZE, 0);
}

#[cfg(not(unix))]
fn bind_memory(_bytes: u64) {}

/// Whether it could be done.
#[cfg(target_os = "linux")]
fn deny_files() -> bool {
    use landlock::{
        ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetError, RulesetStatus, Scope,
    };

    let abi = ABI::V6;
    let bind = || -> Result<RulesetStatus, RulesetError> {
        let rules = Ruleset::default()
            .handle_access(AccessFs::from_all(abi))?
            .handle_access(AccessNet::from_all(abi))?
            .scope(Scope::from_all(abi))?;
        Ok(rules.create()?.restrict_self()?.ruleset)
    };
    bind().is_ok_and(|status| status != RulesetStatus::NotEnforced)
}

#[cfg(not(target_os = "linux"))]
fn deny_files() -> bool {
    false
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
    fn a_bound_thread_opens_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, "secret").unwrap();
        let inside = path.clone();
        let (is_bound, read, written) = std::thread::spawn(move || {
            let is_bound = deny_files();
            (is_bound, std::fs::read(&inside).is_ok(), std::fs::write(&inside, "gone").is_ok())
        })
        .join()
        .unwrap();
        if !is_bound {
            eprintln!("skipped: this kernel has no Landlock");
            return;
        }
        assert!(!read && !written);
        assert_eq!(std::fs::read(&path).unwrap(), b"secret");
    }
}
