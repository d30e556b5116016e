//! Downloading a file: in the folder it is to stay in, going on where a broken download ended, and
//! believed only once its hash is the one it should be.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use sha2::{Digest, Sha256, Sha512};
use ureq::tls::{RootCerts, TlsConfig};

use super::file::hexadecimal;
use crate::error::{Error, Result, WeightsError};
use crate::files::LockedFile;
use crate::job::Job;

/// Attempts in a row that bring nothing, after which it is given up.
const ATTEMPTS: u32 = 4;
/// Waited before the second attempt, and as much longer before each later one.
const PAUSE: Duration = Duration::from_millis(500);
/// How often a waiting download looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(100);
/// A server that says nothing for so long has broken off.
const SILENCE: Duration = Duration::from_secs(30);
/// Bytes read at once, and parts that may wait to be written.
const PART: usize = 1 << 16;
const WAITING: usize = 16;
/// Where the length of a file is not known, it is this at most, in bytes.
const LARGEST: u64 = super::file::LARGEST;

/// A file to download.
pub(super) struct Wanted<'a> {
    pub address: &'a str,
    /// The digits of its SHA-256 that are known.
    pub sha256: &'a str,
    /// Its SHA-512, where that is known.
    pub sha512: Option<&'a str>,
    /// Its length in bytes, where that is known.
    pub bytes: Option<u64>,
    /// What to do on a machine that cannot reach the address, as the end of a sentence.
    pub otherwise: &'a str,
}

/// What an attempt ended with.
enum Outcome {
    Whole,
    /// It broke off, and why.
    Broken(String),
}

/// What the thread tells that talks to the server.
enum Told {
    /// The status, where in the file the answer begins, and how long the whole file is, where the
    /// server says so.
    Head {
        status: u16,
        from: u64,
        total: Option<u64>,
    },
    Part(Vec<u8>),
    End,
    Failed(String),
}

/// Downloads a file to `path`, which may hold the beginning of it, and gives its SHA-256. Reports
/// bytes in thousands.
///
/// What was downloaded stays for the next time when it is stopped or breaks off, and goes when it
/// is not what it should be.
///
/// # Errors
/// [`WeightsError::Download`] naming the address: it cannot be reached, breaks off again and again,
/// has no such file or another one;
/// [`WeightsError::File`] if it cannot be written; [`Error::Stopped`].
pub(super) fn download(wanted: &Wanted<'_>, path: &Path, job: Job<'_>) -> Result<String> {
    let failed = |reason: String| WeightsError::Download {
        address: wanted.address.into(),
        reason: reason.into(),
    };
    let unwritable = |error: std::io::Error| WeightsError::file(path, error);
    std::fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).map_err(unwritable)?;
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    let mut file = LockedFile(file.map_err(unwritable)?);
    if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
        return Err(WeightsError::file(path, "another program is downloading it").into());
    }
    let name = wanted.address.rsplit('/').next().unwrap_or(wanted.address);
    job.phase(format!("downloading {name}"), wanted.bytes.map(|bytes| bytes / 1000), "kB");
    let mut attempts = 0;
    loop {
        let before = file.metadata().map_err(unwritable)?.len();
        if Some(before) == wanted.bytes {
            break;
        }
        match attempt(wanted, &mut file, path, job)? {
            Outcome::Whole => break,
            Outcome::Broken(reason) => {
                attempts = if file.metadata().map_err(unwritable)?.len() > before {
                    1
                } else {
                    attempts + 1
                };
                if attempts >= ATTEMPTS {
                    return Err(failed(format!("{reason}{}", wanted.otherwise)).into());
                }
                pause(PAUSE * attempts, job)?;
            }
        }
    }
    let [sha256, sha512] = hashes(&mut file, path, job)?;
    let should = if wanted.sha256.len() < 64 { "should begin with" } else { "should be" };
    let other = match wanted.sha512 {
        _ if !sha256.starts_with(wanted.sha256) => {
            format!("SHA-256 is {sha256} and {should} {}", wanted.sha256)
        }
        Some(known) if sha512 != known => format!("SHA-512 is {sha512} and should be {known}"),
        _ => return Ok(sha256),
    };
    // A wrong beginning cannot be continued.
    drop(file);
    std::fs::remove_file(path).map_err(unwritable)?;
    Err(failed(format!("what came is another file; its {other}. It was not kept")).into())
}

/// Asks for what is missing of a file and writes it as it comes.
fn attempt(wanted: &Wanted<'_>, file: &mut File, path: &Path, job: Job<'_>) -> Result<Outcome> {
    let unwritable = |error: std::io::Error| WeightsError::file(path, error);
    let failed = |reason: String| {
        Err(WeightsError::Download { address: wanted.address.into(), reason: reason.into() }.into())
    };
    let have = file.metadata().map_err(unwritable)?.len();
    let have = if have > wanted.bytes.unwrap_or(LARGEST) { 0 } else { have };
    let told = ask(wanted.address.to_string(), have).map_err(unwritable)?;
    let head = hear(&told, job)?;
    let stated = if let Told::Head { total, .. } = head { total } else { None };
    let length = wanted.bytes.or(stated);
    let mut written = match head {
        Told::Head { status: 200 | 206, total: Some(total), .. } if Some(total) != length => {
            return failed(format!(
                "the file there has {total} bytes and should have {}",
                length.unwrap_or_default()
            ));
        }
        Told::Head { status: 200 | 206, .. } if length.is_some_and(|length| length > LARGEST) => {
            return failed(format!(
                "the file there is larger than {LARGEST} bytes, which no file of weights is"
            ));
        }
        Told::Head { status: 206, from, .. } if from == have => have,
        // All of it, whatever was asked for.
        Told::Head { status: 200, .. } => 0,
        Told::Head { status: 206 | 416, .. } => {
            file.set_len(0).map_err(unwritable)?;
            return Ok(Outcome::Broken("the server does not go on where it was asked to".into()));
        }
        Told::Head { status: status @ (408 | 429 | 500..), .. } => {
            return Ok(Outcome::Broken(format!("the server answers {status}")));
        }
        Told::Head { status: 404 | 410, .. } => {
            return failed(format!("there is no such file there any more{}", wanted.otherwise));
        }
        Told::Head { status, .. } => {
            return failed(format!("the server answers {status}{}", wanted.otherwise));
        }
        Told::Failed(reason) => return Ok(Outcome::Broken(reason)),
        Told::Part(_) | Told::End => return Ok(Outcome::Broken("the server says nothing".into())),
    };
    file.set_len(written).map_err(unwritable)?;
    file.seek(SeekFrom::Start(written)).map_err(unwritable)?;
    loop {
        job.progress(written / 1000);
        match hear(&told, job)? {
            Told::Part(part) => {
                written += part.len() as u64;
                let most = length.unwrap_or(LARGEST);
                if written > most {
                    file.set_len(0).map_err(unwritable)?;
                    return failed(format!(
                        "more comes from there than the {most} bytes that the file has at most"
                    ));
                }
                file.write_all(&part).map_err(unwritable)?;
            }
            Told::End if length.is_none_or(|length| written == length) => {
                file.sync_all().map_err(unwritable)?;
                return Ok(Outcome::Whole);
            }
            Told::End => {
                return Ok(Outcome::Broken(format!(
                    "it ended after {written} of {} bytes",
                    length.unwrap_or_default()
                )));
            }
            Told::Failed(reason) => {
                return Ok(Outcome::Broken(format!("{reason}, after {written} bytes")));
            }
            Told::Head { .. } => {}
        }
    }
}

/// Has a thread ask the server for a file from a place on. It ends by itself soon after the
/// receiver is dropped.
fn ask(address: String, from: u64) -> std::io::Result<Receiver<Told>> {
    let (tell, told) = sync_channel(WAITING);
    std::thread::Builder::new().name("download".into()).spawn(move || {
        let last = fetch(&address, from, &tell).map_or_else(Told::Failed, |()| Told::End);
        // This fails if the receiver was dropped, which is no problem.
        drop(tell.send(last));
    })?;
    Ok(told)
}

fn fetch(address: &str, from: u64, tell: &SyncSender<Told>) -> Result<(), String> {
    let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
    let config = ureq::Agent::config_builder()
        .tls_config(tls)
        .http_status_as_error(false)
        .timeout_per_read(Some(SILENCE));
    let config = config
        .timeout_connect(Some(SILENCE))
        .timeout_resolve(Some(SILENCE))
        .timeout_recv_response(Some(SILENCE));
    let agent = ureq::Agent::new_with_config(
        config.user_agent(concat!("counterweight/", env!("CARGO_PKG_VERSION"))).build(),
    );
    let mut request = agent.get(address);
    if from > 0 {
        request = request.header("Range", format!("bytes={from}-"));
    }
    let response = request.call().map_err(|error| format!("it cannot be reached: {error}"))?;
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    let (from, total) = match header("Content-Range").and_then(range) {
        Some(range) => range,
        None => (0, header("Content-Length").and_then(|length| length.parse().ok())),
    };
    let head = Told::Head { status: response.status().as_u16(), from, total };
    let mut reader = response.into_body().into_reader();
    let mut sent = tell.send(head);
    while sent.is_ok() {
        let mut part = vec![0; PART];
        let length = reader.read(&mut part).map_err(|error| format!("it broke off: {error}"))?;
        if length == 0 {
            break;
        }
        part.truncate(length);
        sent = tell.send(Told::Part(part));
    }
    Ok(())
}

/// `bytes 5-9/10`: where the answer begins, and how long the whole is.
fn range(text: &str) -> Option<(u64, Option<u64>)> {
    let (place, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    Some((place.split('-').next()?.parse().ok()?, total.parse().ok()))
}

/// Waits for what the thread tells next.
fn hear(told: &Receiver<Told>, job: Job<'_>) -> Result<Told> {
    loop {
        job.check()?;
        match told.recv_timeout(LOOK) {
            Ok(told) => return Ok(told),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(Told::Failed("it broke off".into())),
        }
    }
}

fn pause(length: Duration, job: Job<'_>) -> Result<(), Error> {
    for _ in 0..length.as_millis().div_ceil(LOOK.as_millis()) {
        job.check()?;
        std::thread::sleep(LOOK);
    }
    job.check()
}

/// SHA-256 and SHA-512 of a file, hexadecimal.
fn hashes(file: &mut File, path: &Path, job: Job<'_>) -> Result<[String; 2]> {
    let (mut short, mut long) = (Sha256::new(), Sha512::new());
    let mut part = vec![0; 1 << 20];
    file.rewind().map_err(|error| WeightsError::file(path, error))?;
    loop {
        job.check()?;
        match file.read(&mut part).map_err(|error| WeightsError::file(path, error))? {
            0 => return Ok([hexadecimal(&short.finalize()), hexadecimal(&long.finalize())]),
            length => {
                short.update(&part[..length]);
                long.update(&part[..length]);
            }
        }
    }
}
