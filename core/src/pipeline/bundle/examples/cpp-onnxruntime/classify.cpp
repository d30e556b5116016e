// Classifies images with the model of this bundle, by onnxruntime's C++ interface (1.21 and later), libjpeg-turbo and stb_image.
//
//     apt install g++ pkg-config libonnxruntime-dev libturbojpeg0-dev libstb-dev        (Debian 13 and later)
//     g++ -O2 -std=c++17 classify.cpp -o classify $(pkg-config --cflags --libs libonnxruntime libturbojpeg) $(pkg-config --cflags stb)
//     ./classify ../.. IMAGE...
//
// Elsewhere, install libjpeg-turbo with its headers, unpack the archive of onnxruntime's release page here as `onnxruntime`, and
// put `stb_image.h` beside this file:
//
//     g++ -O2 -std=c++17 classify.cpp -o classify -I. -Ionnxruntime/include -Lonnxruntime/lib -lonnxruntime -Wl,-rpath,onnxruntime/lib -lturbojpeg
//
// stb_image reads PNG, BMP and GIF, but neither WebP nor TIFF.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include <onnxruntime_cxx_api.h>
#include <turbojpeg.h>

#define STB_IMAGE_IMPLEMENTATION
#include <stb_image.h>

using Bytes = std::vector<unsigned char>;

// The orientation that the camera has noted, 1 to 8: EXIF is a small TIFF within a JPEG or PNG.
static int orientation(const Bytes &file) {
    const auto number = [&](size_t at, size_t bytes, bool little) {
        size_t value = 0;
        if (at > file.size() || bytes > file.size() - at) return value;
        for (size_t i = 0; i < bytes; ++i) value = value << 8 | file[at + (little ? bytes - 1 - i : i)];
        return value;
    };
    const auto says = [&](size_t at, const std::string &text) {
        return at + text.size() <= file.size() && std::memcmp(&file[at], text.data(), text.size()) == 0;
    };
    size_t tiff = 0;
    if (says(0, "\xff\xd8")) {
        // Segment after segment, until the pixels begin.
        for (size_t at = 2; !tiff && number(at, 1, false) == 0xff && number(at + 1, 1, false) != 0xda;) {
            if (says(at, "\xff\xe1") && says(at + 4, std::string("Exif\0\0", 6))) tiff = at + 10;
            at += number(at + 1, 1, false) == 0xff ? 1 : 2 + number(at + 2, 2, false);
        }
    } else if (says(0, "\x89PNG")) {
        for (size_t at = 8; !tiff && at + 8 <= file.size(); at += 12 + number(at, 4, false)) {
            if (says(at + 4, "eXIf")) tiff = at + 8;
        }
    }
    if (!tiff || !(says(tiff, "II") || says(tiff, "MM"))) return 1;
    const bool little = says(tiff, "II");
    const size_t directory = tiff + number(tiff + 4, 4, little);
    for (size_t entry = 0; entry < number(directory, 2, little); ++entry) {
        const size_t at = directory + 2 + 12 * entry;
        if (number(at, 2, little) != 0x112) continue;
        const size_t value = number(at + 8, 2, little);
        return value >= 1 && value <= 8 ? int(value) : 1;
    }
    return 1;
}

struct Image {
    int width, height;
    Bytes pixels;
};

// A JPEG by libjpeg, as the program reads it: stb_image's colours differ by up to three levels. Of a large one libjpeg decodes
// only a half, a quarter or an eighth of each side. No pixels where it is no JPEG, CMYK or damaged: stb_image has a try at it.
static Image read_jpeg(const Bytes &file, int side) {
    const tjhandle decoder = tjInitDecompress();
    Image image{};
    int sampling, colours;
    if (!tjDecompressHeader3(decoder, file.data(), file.size(), &image.width, &image.height, &sampling, &colours)
        && (colours == TJCS_YCbCr || colours == TJCS_GRAY)) {
        int part = 8;
        while (part > 1 && 2 * std::min(image.width, image.height) < part * 3 * side) part /= 2;
        image.width = TJSCALED(image.width, (tjscalingfactor{1, part}));
        image.height = TJSCALED(image.height, (tjscalingfactor{1, part}));
        image.pixels.resize(size_t(image.width) * image.height * 3);
        if (tjDecompress2(decoder, file.data(), file.size(), image.pixels.data(), image.width, 0, image.height, TJPF_RGB, 0))
            image.pixels.clear();
    }
    tjDestroy(decoder);
    return image;
}

// An image file as RGB, upright, with 8 bits a channel, as large as `side` needs. Alpha is dropped, not blended.
static Image read(const std::string &path, int side) {
    std::ifstream stream(path, std::ios::binary);
    const Bytes file((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
    auto [width, height, pixels] = read_jpeg(file, side);
    int channels = 0;
    if (!pixels.empty()) {
        // All is read.
    } else if (stbi_is_16_bit_from_memory(file.data(), int(file.size()))) {
        // stb_image's own conversion would cut values off instead of scaling them.
        stbi_us *values = stbi_load_16_from_memory(file.data(), int(file.size()), &width, &height, &channels, 3);
        if (values) {
            pixels.resize(size_t(width) * height * 3);
            std::transform(values, values + pixels.size(), pixels.begin(), [](stbi_us value) { return (value + 128u) / 257u; });
        }
        stbi_image_free(values);
    } else {
        stbi_uc *values = stbi_load_from_memory(file.data(), int(file.size()), &width, &height, &channels, 3);
        if (values) pixels.assign(values, values + size_t(width) * height * 3);
        stbi_image_free(values);
    }
    if (pixels.empty()) throw std::runtime_error(path + " cannot be read");
    const int how = orientation(file);
    if (how == 1) return {width, height, pixels};
    const bool on_its_side = how >= 5, flip_x = how == 2 || how == 3 || how == 7 || how == 8;
    const bool flip_y = how == 3 || how == 4 || how == 6 || how == 7;
    Image upright{on_its_side ? height : width, on_its_side ? width : height, Bytes(pixels.size())};
    for (int y = 0; y < upright.height; ++y) {
        for (int x = 0; x < upright.width; ++x) {
            int from_x = on_its_side ? y : x, from_y = on_its_side ? x : y;
            if (flip_x) from_x = width - 1 - from_x;
            if (flip_y) from_y = height - 1 - from_y;
            const unsigned char *from = &pixels[(size_t(from_y) * width + from_x) * 3];
            std::copy(from, from + 3, &upright.pixels[(size_t(y) * upright.width + x) * 3]);
        }
    }
    return upright;
}

// Whether the model sees an image's largest centred square, or all of it, whatever its shape.
const bool CROP = true;

struct Weights {
    int from;
    std::vector<float> factors;
};

// Which pixels make each of `to` pixels out of `length` ones from `start` on, by a triangle filter with antialiasing.
static std::vector<Weights> weights(double start, double length, int limit, int to) {
    const double scale = length / to, support = std::max(1.0, scale);
    std::vector<Weights> all(to);
    for (int index = 0; index < to; ++index) {
        const double centre = start + (index + 0.5) * scale;
        Weights &own = all[index];
        own.from = std::max(0, int(std::floor(centre - support + 0.5)));
        const int until = std::min(limit, int(std::floor(centre + support + 0.5)));
        double sum = 0;
        for (int at = own.from; at < until; ++at) {
            own.factors.push_back(float(std::max(0.0, 1 - std::abs(at + 0.5 - centre) / support)));
            sum += own.factors.back();
        }
        for (float &factor : own.factors) factor = float(factor / sum);
    }
    return all;
}

// As 8-bit resizers do, both passes round to whole values. Halves go up as in integers, even if a sum of fractions falls a little
// short of one: in black and white there are many.
static float rounded(float value) { return std::min(255.0f, std::max(0.0f, std::round(value + 0.001f))); }

// An image file as the model wants it: float32 [1, 3, side, side], RGB in 0..1. The model normalises by itself.
static std::vector<float> prepare(const std::string &path, int side) {
    const Image image = read(path, side);
    // An odd margin is cut by half a pixel on both sides.
    const int width = image.width, height = image.height, square = std::min(width, height);
    const int across = CROP ? square : width, down = CROP ? square : height;
    const auto columns = weights((width - across) / 2.0, across, width, side);
    const auto rows = weights((height - down) / 2.0, down, height, side);
    std::vector<float> input, line(width);
    input.reserve(size_t(3) * side * side);
    for (int channel = 0; channel < 3; ++channel) {
        for (const Weights &row : rows) {
            // First vertically, then horizontally, and both passes round to bytes: the program does the same.
            for (int x = 0; x < width; ++x) {
                float sum = 0;
                for (size_t i = 0; i < row.factors.size(); ++i) {
                    sum += row.factors[i] * image.pixels[((row.from + i) * width + x) * 3 + channel];
                }
                line[x] = rounded(sum);
            }
            for (const Weights &column : columns) {
                float sum = 0;
                for (size_t i = 0; i < column.factors.size(); ++i) sum += column.factors[i] * line[column.from + i];
                input.push_back(rounded(sum) / 255);
            }
        }
    }
    return input;
}

static int run(int count, char **arguments) {
    const std::filesystem::path bundle = arguments[1];
    std::vector<std::string> labels;
    std::ifstream names(bundle / "labels.txt");
    for (std::string name; std::getline(names, name);) labels.push_back(name);
    Ort::Env environment(ORT_LOGGING_LEVEL_WARNING, "classify");
    Ort::Session session(environment, (bundle / "model.onnx").c_str(), Ort::SessionOptions());
    const auto place = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    const int side = int(session.GetInputTypeInfo(0).GetTensorTypeAndShapeInfo().GetShape().at(2));
    const std::array<int64_t, 4> shape = {1, 3, side, side};
    const char *const inputs[] = {"images"}, *const outputs[] = {"probabilities"};
    for (int index = 2; index < count; ++index) {
        std::vector<float> pixels = prepare(arguments[index], side);
        const Ort::Value input = Ort::Value::CreateTensor<float>(place, pixels.data(), pixels.size(), shape.data(), shape.size());
        const auto found = session.Run(Ort::RunOptions(), inputs, &input, 1, outputs, 1);
        const float *row = found[0].GetTensorData<float>();
        std::vector<size_t> order(labels.size());
        std::iota(order.begin(), order.end(), size_t(0));
        std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return row[a] > row[b]; });
        std::printf("%s\n", arguments[index]);
        for (size_t rank = 0; rank < std::min<size_t>(5, order.size()); ++rank)
            std::printf("  %5.1f %%  %s\n", 100 * row[order[rank]], labels[order[rank]].c_str());
    }
    return 0;
}

int main(int count, char **arguments) {
    if (count < 3) {
        std::fprintf(stderr, "usage: %s BUNDLE IMAGE...\n", arguments[0]);
        return 2;
    }
    try {
        return run(count, arguments);
    } catch (const std::exception &error) {
        std::fprintf(stderr, "error: %s\n", error.what());
        return 1;
    }
}
