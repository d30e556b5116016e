// Prepares an image as the model wants it, and says what the model sees. Runs in a browser and under node.
"use strict";

/**
 * From pixels of any size to the model's input: float32 [3, side, side], RGB in 0..1. The model normalises by itself.
 * @param {Uint8Array | Uint8ClampedArray} pixels `channels` bytes a pixel, row after row; alpha is not looked at
 */
function prepare(pixels, width, height, side, channels = 4) {
  // The largest centred square; an odd margin is cut by half a pixel on both sides.
  const square = Math.min(width, height);
  const columns = weights((width - square) / 2, square, width, side);
  const rows = weights((height - square) / 2, square, height, side);
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
function top(probabilities, labels, count = 5) {
  return labels
    .map((label, index) => ({ label, probability: probabilities[index] }))
    .sort((a, b) => b.probability - a.probability)
    .slice(0, count);
}

/** Classifies pixels with a session of onnxruntime-web or onnxruntime-node, which is `ort`. */
async function classify(ort, session, labels, side, pixels, width, height, channels = 4) {
  const input = new ort.Tensor("float32", prepare(pixels, width, height, side, channels), [1, 3, side, side]);
  const { probabilities } = await session.run({ images: input });
  return top(probabilities.data, labels);
}

if (typeof module !== "undefined") module.exports = { prepare, top, classify };
