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
        line[y * width + x] = Math.min(255, Math.max(0, Math.round(sum)));
      }
    }
    for (let y = 0; y < side; y++) {
      for (let x = 0; x < side; x++) {
        const { from, factors } = columns[x];
        let sum = 0;
        for (let i = 0; i < factors.length; i++) sum += factors[i] * line[y * width + from + i];
        input[(channel * side + y) * side + x] = Math.min(255, Math.max(0, Math.round(sum))) / 255;
      }
    }
  }
  return input;
}

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

/** In a browser: the pixels of an image file, upright, four bytes each. */
async function readBlob(blob) {
  // The browser applies the orientation that the camera has noted, and leaves colours as they are stored. Three things it
  // does otherwise than the program: it cuts 16 bits off to 8, and Chromium leaves WebP as it lies and makes what is
  // transparent in a GIF black.
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
  return { pixels, width, height, channels: 4 };
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
async function readFile(sharp, path) {
  const image = sharp(path, { ignoreIcc: true }).autoOrient();
  const { space, depth } = await image.metadata();
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
  return { pixels, width, height, channels: 3 };
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
    const { pixels, width, height, channels } = await readFile(sharp, path);
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
