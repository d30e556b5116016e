//! Image files and folders that tests are made of, good and broken ones.

use std::io::Write;
use std::path::{Path, PathBuf};

use image::{GrayImage, ImageBuffer, ImageFormat, Luma, Rgb, RgbImage};

use crate::counterweight;

/// A CMYK JPEG of 24 × 16 pixels, as Adobe's programs write it: a ramp of red from left to right,
/// of green from top to bottom.
pub const CMYK_JPEG: &[u8] = include_bytes!("../assets/images/cmyk.jpg");

/// A JPEG stored with 24 × 16 pixels, the left half red, the right half blue, whose EXIF
/// orientation (6) turns it to 16 × 24 with red above.
pub const ROTATED_JPEG: &[u8] = include_bytes!("../assets/images/rotated.jpg");

/// A small RGB image that differs for every `seed`.
pub fn picture(seed: u32, width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let value = |k: u32| ((x * 7 + y * 13 + seed * (31 + k)) * (k + 3) % 256) as u8;
        image::Rgb([value(0), value(1), value(2)])
    })
}

/// An image folder below `folder` in which labels say nothing about images: every picture is noise,
/// `each` of it in every class.
pub fn shuffled_folder(folder: &Path, classes: &[&str], each: u32) -> PathBuf {
    let root = folder.join("shuffled");
    for (class, name) in classes.iter().enumerate() {
        for i in 0..each {
            let image = u64::from(class as u32 * each + i);
            let noise = RgbImage::from_fn(16, 16, |x, y| {
                // Images that are one apart must have nothing in common, so their number is mixed
                // before the pixel's is added.
                let bytes = mixed(mixed(image).wrapping_add(u64::from(16 * y + x))).to_le_bytes();
                image::Rgb([bytes[0], bytes[1], bytes[2]])
            });
            save(&noise, root.join(name).join(format!("{i:03}.png")));
        }
    }
    root
}

/// An image folder below `folder` in which two classes may be one, and images parts of one photo: noise,
/// four files to a `photo NUMBER part NUMBER.png`.
pub fn doubtful_folder(folder: &Path) -> PathBuf {
    let root = shuffled_folder(folder, &["Rain", "rain", "snow"], 24);
    for class in ["Rain", "rain", "snow"] {
        for i in 0..24 {
            let name = format!("photo {} part {i}.png", i / 4);
            let from = root.join(class).join(format!("{i:03}.png"));
            std::fs::rename(from, root.join(class).join(name)).unwrap();
        }
    }
    root
}

/// An image folder below `folder` of tracks: so many of each class, `frames` frames each, named
/// `TRACK_FRAME.png`. Every track is a soft picture of its own that drifts a little from frame to
/// frame.
pub fn track_folder(folder: &Path, classes: &[(&str, u32)], frames: u32) -> PathBuf {
    let root = folder.join("tracks");
    for (class, (name, tracks)) in classes.iter().enumerate() {
        for track in 0..*tracks {
            let number = |k: u64| {
                let mixed = mixed(mixed(1000 * class as u64 + u64::from(track)).wrapping_add(k));
                (mixed >> 40) as f64 / (1u64 << 24) as f64
            };
            for frame in 0..frames {
                let drift = 0.03 * f64::from(frame);
                let image = RgbImage::from_fn(48, 40, |x, y| {
                    let (x, y) = (f64::from(x) / 48.0 + drift, f64::from(y) / 40.0);
                    let wave = |k: u64| {
                        let (a, b) = (6.0 * number(3 * k), 6.0 * number(3 * k + 1));
                        (std::f64::consts::TAU * (a * x + b * y + number(3 * k + 2))).sin()
                    };
                    let value = (0..6).map(wave).sum::<f64>();
                    image::Rgb([(120.0 + 20.0 * value).clamp(0.0, 255.0) as u8; 3])
                });
                save(&image, root.join(name).join(format!("{track:03}_{frame:03}.png")));
            }
        }
    }
    root
}

/// A number of which nothing is left to be seen (SplitMix64 of Steele, Lea and Flood).
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// Saves an image, making its folder first. The format follows from the extension.
pub fn save(image: &RgbImage, path: impl AsRef<Path>) {
    let path = path.as_ref();
    std::fs::create_dir_all(path.parent().expect("a file lies in a folder"))
        .expect("the folder can be made");
    image.save(path).expect("the image can be written");
}

/// Writes bytes, making the folder first.
pub fn write(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
    let path = path.as_ref();
    std::fs::create_dir_all(path.parent().expect("a file lies in a folder"))
        .expect("the folder can be made");
    std::fs::write(path, bytes).expect("the file can be written");
}

/// A JPEG of 64 × 48 pixels.
pub fn jpeg(seed: u32) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture(seed, 64, 48)
        .write_to(&mut bytes, ImageFormat::Jpeg)
        .expect("the image can be encoded");
    bytes.into_inner()
}

/// A valid PNG of `side` × `side` black pixels of one bit, of a few kilobytes however large.
pub fn huge_png(side: u32) -> Vec<u8> {
    let mut header = Vec::new();
    header.extend(side.to_be_bytes());
    header.extend(side.to_be_bytes());
    // One bit of grey, deflate, adaptive filters, not interlaced.
    header.extend([1, 0, 0, 0, 0]);
    let mut pixels = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    let row = vec![0u8; 1 + side.div_ceil(8) as usize];
    for _ in 0..side {
        pixels.write_all(&row).expect("memory can be written");
    }
    let pixels = pixels.finish().expect("memory can be written");
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, data) in [(b"IHDR", header.as_slice()), (b"IDAT", &pixels), (b"IEND", &[])] {
        png.extend((data.len() as u32).to_be_bytes());
        let mut crc = flate2::Crc::new();
        crc.update(kind);
        crc.update(data);
        png.extend(kind);
        png.extend(data);
        png.extend(crc.sum().to_be_bytes());
    }
    png
}

/// What [`broken_folder`] made.
pub struct BrokenFolder {
    /// The image folder.
    pub root: PathBuf,
    /// File names that must be reported, with a word of the reason.
    pub problems: Vec<(&'static str, &'static str)>,
    /// Number of readable images.
    pub readable: usize,
}

/// Makes an image folder below `folder` with two classes of twelve plain images each, and among
/// them everything that a folder can go wrong with: a truncated JPEG, an empty file, a text file
/// named `.png`, a 16-bit grey PNG, a CMYK JPEG, a rotated EXIF JPEG, a PNG of 30,000 × 30,000
/// pixels in a few kilobytes, a Cyrillic name and (on Unix) a symbolic link in a circle.
pub fn broken_folder(folder: &Path) -> BrokenFolder {
    let root = folder.join("broken");
    for (class, seed) in [("cat", 0), ("собака", 100)] {
        for i in 0..12 {
            save(&picture(seed + i, 40, 32), root.join(class).join(format!("{i:02}.png")));
        }
    }
    let cat = root.join("cat");
    let whole = jpeg(1);
    write(cat.join("truncated.jpg"), &whole[..whole.len() * 2 / 3]);
    write(cat.join("empty.jpg"), []);
    write(cat.join("text.png"), "This is not the image you are looking for.\n");
    write(cat.join("huge.png"), huge_png(30_000));
    let grey: GrayImage16 = ImageBuffer::from_fn(20, 10, |x, y| Luma([(x * 3000 + y * 11) as u16]));
    grey.save(cat.join("grey16.png")).expect("the image can be written");
    write(cat.join("cmyk.jpg"), CMYK_JPEG);
    write(cat.join("rotated.jpg"), ROTATED_JPEG);
    let grey8: GrayImage = ImageBuffer::from_fn(9, 9, |x, y| Luma([(x * y * 3) as u8]));
    grey8.save(root.join("собака").join("щенок.png")).expect("the image can be written");
    #[cfg(unix)]
    std::os::unix::fs::symlink("..", cat.join("circle")).expect("the link can be made");
    BrokenFolder {
        root,
        problems: vec![
            ("truncated.jpg", "truncated"),
            ("empty.jpg", "empty"),
            ("text.png", "not an image"),
            ("huge.png", "too large"),
        ],
        readable: 24 + 4,
    }
}

type GrayImage16 = ImageBuffer<Luma<u16>, Vec<u16>>;

/// Classes of stripes across, stripes down and dots, in colours and at places of their own, 40, 25
/// and 15 of them.
pub fn patterns(folder: &Path) {
    for (class, (name, count)) in
        [("across", 40), ("down", 25), ("dots", 15)].into_iter().enumerate()
    {
        for index in 0..count {
            save(&pattern(class, index), folder.join(format!("{name}/{index}.png")));
        }
    }
}

/// An image of one of these classes, 0, 1 or 2; below 240 each index gives another.
pub fn pattern(class: usize, index: u32) -> RgbImage {
    let (shift, hue) = (index * 7 % 16, (index * 37 % 120) as u8);
    let lit = |x: u32, y: u32| match class {
        0 => (y + shift) % 16 < 8,
        1 => (x + shift) % 16 < 8,
        _ => (x + shift) % 16 < 8 && (y + 2 * shift) % 16 < 8,
    };
    let pixel = |x, y| {
        if lit(x, y) { Rgb([250 - hue, 240, 200 + hue / 3]) } else { Rgb([hue, 40, 90]) }
    };
    RgbImage::from_fn(96, 96, pixel)
}

/// The same patterns, 40, 25 and 15 of them, at the ends of images three times as wide as high, with a
/// middle of noise that says nothing.
pub fn banners(folder: &Path) {
    for (class, (name, count)) in
        [("across", 40), ("down", 25), ("dots", 15)].into_iter().enumerate()
    {
        for index in 0..count {
            let (ends, noise) = (pattern(class, index), picture(index * 3 + class as u32, 96, 96));
            let banner = RgbImage::from_fn(288, 96, |x, y| match x / 96 {
                1 => *noise.get_pixel(x - 96, y),
                _ => *ends.get_pixel(x % 96, y),
            });
            save(&banner, folder.join(format!("{name}/{index}.png")));
        }
    }
}

/// A folder of two classes that are mirror images of each other, an arrow to the left and one to the
/// right, and of two that are not changed by that, on grounds of many shades.
pub fn arrows(folder: &Path) {
    for number in 0..30_u32 {
        for class in ["arrow left", "arrow right", "disc", "ring"] {
            let image = RgbImage::from_fn(96, 96, |x, y| {
                let (x, y) = (x as f32 - 48.0 + (number % 5) as f32, y as f32 - 46.0);
                let x = if class == "arrow left" { -x } else { x };
                let away = (x * x + y * y).sqrt();
                let inside = match class {
                    "disc" => away < 26.0,
                    "ring" => (18.0..28.0).contains(&away),
                    // A shaft, and a head that points to the right.
                    _ => {
                        ((-34.0..4.0).contains(&x) && y.abs() < 7.0)
                            || ((4.0..36.0).contains(&x) && y.abs() < (36.0 - x) * 0.8)
                    }
                };
                let shade = (200 + (number * 7) % 50) as u8;
                if inside {
                    image::Rgb([20, 30 + (number * 3) as u8, 160])
                } else {
                    image::Rgb([shade; 3])
                }
            });
            let path = folder.join(class).join(format!("{number:02}.png"));
            std::fs::create_dir_all(path.parent().expect("a file lies in a folder"))
                .expect("the folder can be made");
            image.save(path).expect("the image can be written");
        }
    }
}

/// A folder of rows, of which there are 30 to learn from, and columns, of which there are 8, with a
/// test split, and a balanced run of it: `photos` and `run` in `root`.
///
/// # Panics
/// If that fails.
pub fn finished_run(root: &Path) -> (PathBuf, PathBuf) {
    let photos = root.join("photos");
    for (class, (name, images)) in [("rows", 30), ("columns", 8)].into_iter().enumerate() {
        for number in 0..images {
            save(&pattern(class, number), photos.join(format!("train/{name}/{number:02}.png")));
        }
        for number in 100..106 {
            save(&pattern(class, number), photos.join(format!("test/{name}/{number}.png")));
        }
    }
    let run = root.join("run");
    let [source, target] = [&photos, &run].map(|path| path.display().to_string());
    for arguments in [
        &["train", &source, "--run", &target, "--set", "stage1.train=classifier"][..],
        &["balance", &target, "--set", "balance.tune_candidates=0"],
    ] {
        let done = counterweight(&[arguments, &["--device", "cpu"]].concat());
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
    (photos, run)
}
