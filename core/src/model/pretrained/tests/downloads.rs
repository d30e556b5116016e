//! Downloads from a server on this machine that behaves well or badly.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha2::{Digest, Sha256, Sha512};

use super::{state, torch};
use crate::error::Error;
use crate::job::{Control, Event, Job, Silent};
use crate::model::{Backbone, Kept, Origin, Published, WeightsFolder};
use crate::words::Stem;

/// What a server sends for one request, with a pause before each part; then it closes the
/// connection.
type Answer = Vec<(Duration, Vec<u8>)>;

/// A server, and the place in the file that each request asked for.
struct Server {
    address: String,
    asked: Arc<Mutex<Vec<Option<usize>>>>,
}

/// Serves requests by number, path and the place they ask for, until the test ends.
fn serve(answer: impl Fn(usize, &str, Option<usize>) -> Answer + Send + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = asked.clone();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let (path, from) = request(&stream);
            log.lock().unwrap().push(from);
            for (pause, part) in answer(number, &path, from) {
                std::thread::sleep(pause);
                // The client may have closed the connection.
                if stream.write_all(&part).is_err() {
                    break;
                }
            }
        }
    });
    Server { address, asked }
}

fn request(stream: &TcpStream) -> (String, Option<usize>) {
    let lines: Vec<String> = BufReader::new(stream)
        .lines()
        .map(Result::unwrap)
        .take_while(|line| !line.is_empty())
        .collect();
    let path = lines[0].split(' ').nth(1).unwrap().to_string();
    let range = lines
        .iter()
        .find_map(|line| line.to_lowercase().strip_prefix("range: bytes=").map(str::to_string));
    (path, range.map(|range| range.trim_end_matches('-').parse().unwrap()))
}

fn at_once(bytes: Vec<u8>) -> Answer {
    vec![(Duration::ZERO, bytes)]
}

/// A whole answer: all of a file, or what of it was asked for.
fn answer(file: &[u8], from: Option<usize>) -> Vec<u8> {
    match from {
        None => {
            [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", file.len()).as_bytes(), file]
                .concat()
        }
        Some(from) => {
            let head = format!(
                "HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\nContent-Range: bytes {from}-{}/{}\r\n\r\n",
                file.len() - from,
                file.len() - 1,
                file.len()
            );
            [head.as_bytes(), &file[from..]].concat()
        }
    }
}

fn status(line: &str) -> Answer {
    at_once(format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\n\r\n").into_bytes())
}

/// A file of weights, and what is published of it.
fn published(seed: u64) -> (Vec<u8>, Published) {
    let file = torch(&state(Backbone::ResNet20, Stem::Imagenet, seed));
    let sha256 = super::super::file::hexadecimal(&Sha256::digest(&file));
    let published = Published {
        version: "v1",
        publisher: "example",
        folder: "https://example.org/",
        file: "net-01234567.pth",
        bytes: Some(file.len() as u64),
        sha256: sha256.leak(),
        sha512: None,
        top1: 0.5,
        licence: "none",
        stem: Some(Stem::Imagenet),
    };
    (file, published)
}

fn get(folder: &Path, published: &Published, address: &str) -> Result<Kept, String> {
    let control = Control::new();
    let folder = WeightsFolder::in_folder(folder);
    folder
        .get(Backbone::ResNet20, published, Some(address), Job::new(&control, &Silent))
        .map_err(|error| error.to_string())
}

/// Names of all files there are below a folder.
fn files(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_string();
    entries
        .flatten()
        .flat_map(|entry| {
            if entry.path().is_dir() { files(&entry.path()) } else { vec![name(&entry.path())] }
        })
        .collect()
}

#[test]
fn what_is_published_is_kept_and_known() {
    let folder = tempfile::tempdir().unwrap();
    let (file, published) = published(1);
    let server = serve(move |_, path, from| match path {
        "/net-01234567.pth" => at_once(
            b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n".to_vec(),
        ),
        "/elsewhere" => at_once(answer(&file, from)),
        _ => status("404 Not Found"),
    });
    let events = Mutex::new(Vec::new());
    let control = Control::new();
    let sink = |event| events.lock().unwrap().push(event);
    let store = WeightsFolder::in_folder(folder.path());
    let kept = store
        .get(Backbone::ResNet20, &published, Some(&server.address), Job::new(&control, &sink))
        .unwrap();
    assert_eq!(
        (kept.origin, kept.facts.sha256.as_deref()),
        (Origin::Downloaded, Some(published.sha256))
    );
    let found = store.find(Backbone::ResNet20).unwrap().unwrap();
    assert_eq!(
        (found.facts.source.as_ref(), found.facts.licence_words()),
        ("https://example.org/net-01234567.pth", "none")
    );
    assert_eq!((found.facts.top1, found.facts.mean[0]), (Some(0.5), 0.485));
    assert_eq!(found.weights().unwrap().len(), kept.fit.taken);
    assert_eq!(files(folder.path()).len(), 2, "{:?}", files(folder.path()));
    let events = events.into_inner().unwrap();
    let total = published.bytes.unwrap() / 1000;
    assert!(
        matches!(&events[0], Event::Phase { name, total: Some(t), unit: "kB" } if name.contains("net-01234567.pth") && *t == total)
    );
    assert!(events.iter().any(|event| matches!(event, Event::Progress { done } if *done == total)));
}

#[test]
fn a_slow_server_that_breaks_off_is_asked_for_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let (file, published) = published(2);
    let (length, third) = (file.len(), file.len() / 3);
    let server = serve(move |_, _, from| {
        let whole = answer(&file, from);
        let slowly = whole[..whole.len().min(third + 300)]
            .chunks(third / 4)
            .map(|part| (Duration::from_millis(20), part.to_vec()));
        slowly.collect()
    });
    let kept = get(folder.path(), &published, &server.address).unwrap();
    assert_eq!(kept.facts.sha256.as_deref(), Some(published.sha256));
    let asked = server.asked.lock().unwrap().clone();
    assert!(asked.len() >= 3 && asked[0].is_none(), "{asked:?}");
    assert!(
        asked[1..].windows(2).all(|pair| pair[0] < pair[1])
            && asked[1].is_some_and(|from| from > 0 && from < length),
        "{asked:?}"
    );
}

#[test]
fn a_server_that_knows_no_ranges_sends_all_of_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let (file, published) = published(3);
    let server = serve(move |number, _, _| {
        let whole = answer(&file, None);
        at_once(if number == 0 { whole[..whole.len() / 2].to_vec() } else { whole })
    });
    get(folder.path(), &published, &server.address).unwrap();
    assert_eq!(server.asked.lock().unwrap().len(), 2);
}

#[test]
fn another_file_is_refused_and_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (file, published) = published(4);
    let mut other = file.clone();
    other[100] ^= 1;
    let server = serve(move |number, _, from| {
        at_once(answer(if number == 0 { &other } else { &file }, from))
    });
    let error = get(folder.path(), &published, &server.address).unwrap_err();
    assert!(
        error.contains(published.sha256)
            && error.contains("another file")
            && error.contains("net-01234567.pth"),
        "{error}"
    );
    assert_eq!(files(folder.path()), [""; 0]);
    get(folder.path(), &published, &server.address).unwrap();
}

#[test]
fn lengths_that_are_not_the_files_are_refused() {
    let (file, published) = published(5);
    let longer = [file.as_slice(), b"more"].concat();
    let without_length =
        |bytes: &[u8]| at_once([b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", bytes].concat());
    let claims = |length: u64| {
        at_once(
            [
                format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").as_bytes(),
                &file[..1000],
            ]
            .concat(),
        )
    };
    let cases = [
        (claims(u64::MAX / 2), "should have"),
        (claims(999), "should have"),
        (without_length(&longer), "more comes"),
        (without_length(&file[..5000]), "ended after 5000 of"),
        // It goes on at a place that was not asked for.
        (
            at_once(b"HTTP/1.1 206 Partial Content\r\nContent-Length: 5\r\nContent-Range: bytes 7-11/12\r\n\r\nabcde".to_vec()),
            "should have",
        ),
    ];
    for (sent, reason) in cases {
        let folder = tempfile::tempdir().unwrap();
        let server = serve(move |_, _, _| sent.clone());
        let error = get(folder.path(), &published, &server.address).unwrap_err();
        assert!(error.contains(reason) && error.contains(&server.address), "{error}");
        let kept = files(folder.path());
        assert!(kept.iter().all(|name| name.ends_with(".part")), "{kept:?}");
    }
}

#[test]
fn where_nothing_can_be_had_it_is_said_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let (_, published) = published(6);
    let gone = serve(|_, _, _| status("404 Not Found"));
    let broken = serve(|_, _, _| status("503 Service Unavailable"));
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let cases = [
        (gone.address.clone(), "no such file"),
        (broken.address.clone(), "503"),
        (format!("http://{closed}/"), "cannot be reached"),
    ];
    for (address, reason) in cases {
        let error = get(folder.path(), &published, &address).unwrap_err();
        assert!(
            error.contains(&format!("{address}net-01234567.pth")) && error.contains(reason),
            "{error}"
        );
        assert!(error.contains("backbones add resnet20 net-01234567.pth"), "{error}");
    }
    assert_eq!(gone.asked.lock().unwrap().len(), 1, "what is not there is not asked for again");
    assert_eq!(broken.asked.lock().unwrap().len(), 4);
}

#[test]
fn a_stopped_download_goes_on_later() {
    let folder = tempfile::tempdir().unwrap();
    let (file, published) = published(7);
    let half = file.len() / 2;
    let server = serve(move |number, _, from| {
        let whole = answer(&file, from);
        match number {
            // The second half would come in a minute.
            0 => vec![
                (Duration::ZERO, whole[..half].to_vec()),
                (Duration::from_millis(1500), whole[half..].to_vec()),
            ],
            _ => at_once(whole),
        }
    });
    let control = Control::new();
    let stop = |event: Event| {
        if matches!(event, Event::Progress { done } if done > half as u64 / 2000) {
            control.stop();
        }
    };
    let store = WeightsFolder::in_folder(folder.path());
    let stopped =
        store.get(Backbone::ResNet20, &published, Some(&server.address), Job::new(&control, &stop));
    assert!(matches!(stopped, Err(Error::Stopped)));
    assert_eq!(files(folder.path()), ["net-01234567.pth.part"]);
    // Nothing is waited for or written after the stop.
    let mut entries = walkdir::WalkDir::new(folder.path()).into_iter().flatten();
    let part = entries.find(|entry| entry.file_type().is_file()).unwrap();
    let kept = part.metadata().unwrap().len();
    assert!(kept <= half as u64, "{kept} of {half}");
    get(folder.path(), &published, &server.address).unwrap();
    assert!(server.asked.lock().unwrap()[1].is_some_and(|from| from > half / 2));
}

#[test]
fn a_file_of_which_a_part_of_the_hash_is_known_may_not_change() {
    let folder = tempfile::tempdir().unwrap();
    let (file, published) = published(8);
    let published = Published { sha256: &published.sha256[..8], bytes: None, ..published };
    // The first time it breaks off, the second time nothing says how long it is.
    let server = serve(move |number, _, from| match number {
        0 => at_once(answer(&file, from)[..5000].to_vec()),
        2 => at_once([b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", file.as_slice()].concat()),
        _ => at_once(answer(&file, from)),
    });
    get(folder.path(), &published, &server.address).unwrap();
    get(folder.path(), &published, &server.address).unwrap();
    assert_eq!(server.asked.lock().unwrap().len(), 3);
    // As if another file with the same beginning of its hash had been there the first time.
    let document = folder.path().join("resnet20.json");
    let text = std::fs::read_to_string(&document).unwrap();
    let at = text.find(published.sha256).unwrap() + 8;
    let changed = format!("{}{}{}", &text[..at], "0".repeat(56), &text[at + 56..]);
    std::fs::write(&document, changed).unwrap();
    let error = get(folder.path(), &published, &server.address).unwrap_err();
    assert!(error.contains("another file"), "{error}");
}

#[test]
fn a_file_of_which_another_hash_is_known_has_to_have_both() {
    let folder = tempfile::tempdir().unwrap();
    let (file, published) = published(10);
    let long = super::super::file::hexadecimal(&Sha512::digest(&file));
    let wrong = long.replace('0', "1");
    let server = serve(move |_, _, from| at_once(answer(&file, from)));
    let known = |sha512: String| Published {
        sha256: &published.sha256[..8],
        sha512: Some(sha512.leak()),
        ..published
    };
    let error = get(folder.path(), &known(wrong.clone()), &server.address).unwrap_err();
    assert!(
        error.contains("another file") && error.contains("SHA-512") && error.contains(&wrong),
        "{error}"
    );
    assert_eq!(files(folder.path()), [""; 0]);
    get(folder.path(), &known(long), &server.address).unwrap();
}

#[test]
fn a_file_that_does_not_fit_is_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (file, published) = published(9);
    let server = serve(move |_, _, from| at_once(answer(&file, from)));
    let control = Control::new();
    let store = WeightsFolder::in_folder(folder.path());
    let error = store
        .get(Backbone::ResNet18, &published, Some(&server.address), Job::new(&control, &Silent))
        .unwrap_err()
        .to_string();
    assert!(error.contains("resnet18") && error.contains(&server.address), "{error}");
    assert_eq!(files(folder.path()), [""; 0]);
}
