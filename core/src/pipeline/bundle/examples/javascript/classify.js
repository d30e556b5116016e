// Prepares an image as the model wants it, and says what the model sees. Runs in a browser (see index.html) and under node:
//
//     npm install onnxruntime-node sharp
//     node classify.js IMAGE...
"use strict";

/** Whether the model sees an image's largest centred square, or all of it, whatever its shape. */
const CROP = true;

/**
 * From pixels of any size to the model's input: float32 [3, side, side], RGB in 0..1. The model normalises by itself.
 * @param {Uint8Array | Uint8ClampedArray} pixels `channels` bytes a pixel, row after row; alpha is not looked at
 */
function prepare(pixels, width, height, side, channels = 4) {
  // An odd margin is cut by half a pixel on both sides.
  const square = Math.min(width, height);
  const [across, down] = CROP ? [square, square] : [width, height];
  const columns = weights((width - across) / 2, across, width, side);
  const rows = weights((height - down) / 2, down, height, side);
  const input = new Float32Array(3 * side * side);
  const line = new Float32Array(side * width);
  for (let channel = 0; channel < 3; channel++) {
    // First vertically, then horizontally, and both passes round to bytes: the program does the same.
    for (let y = 0; y < side; y++) {
      const { from, factors } = rows[y];
      for (let x = 0; x < width; x++) {
        let sum = 0;
        for (let i = 0; i < factors.length; i++) sum += factors[i] * pixels[((from + i) * width + x) * channels + channel];
        line[y * width + x] = rounded(sum);
      }
    }
    for (let y = 0; y < side; y++) {
      for (let x = 0; x < side; x++) {
        const { from, factors } = columns[x];
        let sum = 0;
        for (let i = 0; i < factors.length; i++) sum += factors[i] * line[y * width + from + i];
        input[(channel * side + y) * side + x] = rounded(sum) / 255;
      }
    }
  }
  return input;
}

/** To a byte. Halves go up as in integers, even where a sum of fractions falls a little short: in black and white there are many. */
const rounded = (value) => Math.min(255, Math.max(0, Math.round(value + 0.001)));

/** Which pixels make each of `to` pixels out of `length` ones from `start` on, by a triangle filter with antialiasing. */
function weights(start, length, limit, to) {
  const scale = length / to;
  const support = Math.max(1, scale);
  return Array.from({ length: to }, (_, index) => {
    const centre = start + (index + 0.5) * scale;
    const from = Math.max(0, Math.floor(centre - support + 0.5));
    const until = Math.min(limit, Math.floor(centre + support + 0.5));
    const factors = [];
    for (let at = from; at < until; at++) factors.push(Math.max(0, 1 - Math.abs(at + 0.5 - centre) / support));
    const sum = factors.reduce((all, factor) => all + factor, 0);
    return { from, factors: factors.map((factor) => factor / sum) };
  });
}

/** The `count` most probable classes with their probabilities. */
function best(probabilities, labels, count = 5) {
  return labels
    .map((label, index) => ({ label, probability: probabilities[index] }))
    .sort((a, b) => b.probability - a.probability)
    .slice(0, count);
}

/** Classifies pixels with a session of onnxruntime-web or onnxruntime-node, which is `ort`. */
async function classify(ort, session, labels, side, pixels, width, height, channels = 4, count = 5) {
  const input = new ort.Tensor("float32", prepare(pixels, width, height, side, channels), [1, 3, side, side]);
  const { probabilities } = await session.run({ images: input });
  return best(probabilities.data, labels, count);
}

/**
 * The pixels of a large JPEG at a half, a quarter or an eighth of each side, each the mean of a block. The program has libjpeg
 * decode no more than that; resized from all pixels an image would look a little different.
 * @param {number} orientation what the camera has noted: libjpeg's blocks begin at the corner that is stored first
 */
function reduce({ pixels, width, height, channels }, side, orientation = 1) {
  const part = [8, 4, 2].find((part) => 2 * Math.min(width, height) >= part * 3 * side);
  if (!part) return { pixels, width, height, channels };
  const small = { width: Math.ceil(width / part), height: Math.ceil(height / part), channels };
  const left = [2, 3, 6, 7].includes(orientation) ? width - small.width * part : 0;
  const top = [3, 4, 7, 8].includes(orientation) ? height - small.height * part : 0;
  small.pixels = new Uint8ClampedArray(channels * small.width * small.height);
  for (let to = 0, y = top; y < height; y += part) {
    for (let x = left; x < width; x += part) {
      const [x0, x1, y0, y1] = [Math.max(0, x), Math.min(width, x + part), Math.max(0, y), Math.min(height, y + part)];
      for (let channel = 0; channel < channels; channel++) {
        let sum = 0;
        for (let row = y0; row < y1; row++) {
          for (let column = x0; column < x1; column++) sum += pixels[(row * width + column) * channels + channel];
        }
        small.pixels[to++] = Math.round(sum / ((x1 - x0) * (y1 - y0)));
      }
    }
  }
  return small;
}

/**
 * Whether the program would have a JPEG decoded at a part of its size, which it has not where colours are stored in another way
 * than usual, and the orientation that the camera has noted; nothing for other files.
 */
function jpegHeader(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let orientation = 1;
  let isPlainRgb = false;
  // Segment after segment, to the one that names the size.
  for (let at = 2; at + 20 < bytes.length && view.getUint16(0) === 0xffd8 && bytes[at] === 0xff; at += 2 + view.getUint16(at + 2)) {
    if ([0xc0, 0xc1, 0xc2].includes(bytes[at + 1])) {
      const colours = bytes[at + 9];
      return { isReduced: colours === 1 || (colours === 3 && !isPlainRgb), orientation };
    }
    // Adobe's programs note whether three colours are red, green and blue as they are.
    if (bytes[at + 1] === 0xee && view.getUint32(at + 4) === 0x41646f62) isPlainRgb = bytes[at + 15] === 0;
    if (bytes[at + 1] !== 0xe1 || view.getUint32(at + 4) !== 0x45786966) continue;
    // EXIF is a small TIFF.
    const tiff = at + 10;
    const little = bytes[tiff] === 0x49;
    const first = tiff + view.getUint32(tiff + 4, little) + 2;
    for (let entry = first; entry + 12 <= bytes.length && entry < first + 12 * view.getUint16(first - 2, little); entry += 12) {
      if (view.getUint16(entry, little) === 0x112) orientation = view.getUint16(entry + 8, little);
    }
  }
}

/** In a browser: the pixels of an image file, upright. */
async function readBlob(blob, side) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  const deep = await readDeepPng(bytes);
  if (deep) return deep;
  // The browser applies the orientation that the camera has noted, and leaves colours as they are stored. Two things it
  // does otherwise than the program: Chromium leaves WebP as it lies, and makes what is transparent in a GIF black.
  const image = await createImageBitmap(blob, { imageOrientation: "from-image", premultiplyAlpha: "none", colorSpaceConversion: "none" });
  const { width, height } = image;
  const context = Object.assign(document.createElement("canvas"), { width, height }).getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  let pixels = context.getImageData(0, 0, width, height).data;
  // Alpha is to be dropped, but a canvas forgets the colours of what is transparent; WebGL does not.
  for (let at = 3; at < pixels.length; at += 4) {
    if (pixels[at] === 255) continue;
    pixels = throughWebGL(image) ?? pixels;
    break;
  }
  image.close();
  const read = { pixels, width, height, channels: 4 };
  const header = jpegHeader(bytes);
  return header?.isReduced ? reduce(read, side, header.orientation) : read;
}

/**
 * In a browser: the pixels of a PNG of 16 bits a channel, of which browsers cut off the lower 8. Nothing for other files, nor
 * for what is interlaced, to be turned or damaged, and where the browser cannot unpack it.
 */
async function readDeepPng(bytes) {
  const view = new DataView(bytes.buffer);
  if (bytes.length < 33 || view.getUint32(0) !== 0x89504e47 || bytes[24] !== 16 || bytes[28] !== 0) return null;
  if (typeof DecompressionStream === "undefined" || ![0, 2, 4, 6].includes(bytes[25])) return null;
  const [width, height, channels] = [view.getUint32(16), view.getUint32(20), { 0: 1, 2: 3, 4: 2, 6: 4 }[bytes[25]]];
  const packed = [];
  for (let at = 8; at + 12 <= bytes.length; at += 12 + view.getUint32(at)) {
    const name = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (name === "eXIf") return null;
    if (name === "IDAT") packed.push(bytes.subarray(at + 8, at + 8 + view.getUint32(at)));
  }
  const unpacked = new Blob(packed).stream().pipeThrough(new DecompressionStream("deflate"));
  const data = new Uint8Array(await new Response(unpacked).arrayBuffer().catch(() => new ArrayBuffer(0)));
  if (data.length < height * (2 * channels * width + 1)) return null;
  const pixels = new Uint8Array(3 * width * height);
  // Before each row stands how its bytes were foretold from those to the left and above; they hold what is to be added.
  const [pixel, row] = [2 * channels, 2 * channels * width + 1];
  for (let y = 0, to = 0; y < height; y++) {
    const start = y * row;
    for (let at = start + 1; at < start + row; at++) {
      const left = at - pixel > start ? data[at - pixel] : 0;
      const up = y ? data[at - row] : 0;
      if (data[start] === 1) data[at] += left;
      if (data[start] === 2) data[at] += up;
      if (data[start] === 3) data[at] += (left + up) >> 1;
      if (data[start] !== 4) continue;
      const corner = y && at - pixel > start ? data[at - row - pixel] : 0;
      const [byLeft, byUp, byCorner] = [Math.abs(up - corner), Math.abs(left - corner), Math.abs(left + up - 2 * corner)];
      data[at] += byLeft <= byUp && byLeft <= byCorner ? left : byUp <= byCorner ? up : corner;
    }
    for (let at = start + 1; at < start + row; at += pixel) {
      for (let channel = 0; channel < 3; channel++) {
        // Grey is all three, and alpha behind it is dropped.
        const from = at + (channels < 3 ? 0 : 2 * channel);
        pixels[to++] = Math.round((256 * data[from] + data[from + 1]) / 257);
      }
    }
  }
  return { pixels, width, height, channels: 3 };
}

/** The pixels of an image as they are, or nothing where there is no WebGL or the image is too large for it. */
function throughWebGL(image) {
  const { width, height } = image;
  const gl = document.createElement("canvas").getContext("webgl");
  if (!gl || Math.max(width, height) > gl.getParameter(gl.MAX_TEXTURE_SIZE)) return null;
  gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, image);
  gl.bindFramebuffer(gl.FRAMEBUFFER, gl.createFramebuffer());
  gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, gl.getParameter(gl.TEXTURE_BINDING_2D), 0);
  const pixels = new Uint8Array(4 * width * height);
  gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
  const failed = gl.getError() !== gl.NO_ERROR;
  gl.getExtension("WEBGL_lose_context")?.loseContext();
  return failed ? null : pixels;
}

/** Under node: the pixels of an image file, upright, three bytes each, by `sharp`, which makes what is transparent in a GIF black. */
async function readFile(sharp, path, side) {
  const image = sharp(path, { ignoreIcc: true }).autoOrient();
  const { format, space, depth, orientation } = await image.metadata();
  const { data, info } = await image
    .pipelineColourspace(space)
    .toColourspace(space)
    .raw({ depth })
    .toBuffer({ resolveWithObject: true });
  const { width, height, channels } = info;
  const is16 = depth === "ushort";
  const values = is16 ? new Uint16Array(Uint8Array.from(data).buffer) : data;
  const pixels = new Uint8Array(3 * width * height);
  for (let from = 0, to = 0; to < pixels.length; from += channels) {
    for (let channel = 0; channel < 3; channel++) {
      // Grey is all three, and alpha behind it is dropped.
      const value = values[from + (channels < 3 ? 0 : channel)];
      if (space === "cmyk") pixels[to++] = Math.round(((255 - value) * (255 - values[from + 3])) / 255);
      else pixels[to++] = is16 ? Math.round(value / 257) : value;
    }
  }
  const read = { pixels, width, height, channels: 3 };
  const isReduced = format === "jpeg" && jpegHeader(require("fs").readFileSync(path))?.isReduced;
  return isReduced ? reduce(read, side, orientation) : read;
}

/** Under node: the model of this bundle, as a function from an image's path to its most probable classes. */
async function load(ort, sharp) {
  const fs = require("fs");
  const bundle = require("path").join(__dirname, "..", "..");
  const parsed = (name) => JSON.parse(fs.readFileSync(`${bundle}/${name}`, "utf8"));
  const labels = Object.values(parsed("config.json").id2label);
  const side = parsed("preprocessor_config.json").crop_size.height;
  const session = await ort.InferenceSession.create(`${bundle}/model.onnx`);
  return async (path, count = 5) => {
    const { pixels, width, height, channels } = await readFile(sharp, path, side);
    return classify(ort, session, labels, side, pixels, width, height, channels, count);
  };
}

async function main(paths) {
  const look = await load(require("onnxruntime-node"), require("sharp"));
  for (const path of paths) {
    console.log(path);
    for (const { label, probability } of await look(path)) console.log(`  ${(100 * probability).toFixed(1).padStart(5)} %  ${label}`);
  }
}

if (typeof module !== "undefined") {
  module.exports = { prepare, best, classify, readFile, load };
  if (require.main === module) {
    main(process.argv.slice(2)).catch((error) => {
      console.error(String(error));
      process.exitCode = 1;
    });
  }
}
