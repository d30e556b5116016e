// Classifies images with the model of this bundle, by OpenCV's dnn module (4.11 and later).
//
//     g++ -O2 -std=c++17 classify.cpp -o classify $(pkg-config --cflags --libs opencv4)    # opencv5, if that is what you have
//     ./classify ../.. IMAGE...

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include <opencv2/dnn.hpp>
#include <opencv2/imgcodecs.hpp>

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

// How a file is to be read: of a large JPEG the program has libjpeg decode only a half, a quarter or an eighth of each side.
// Resized from all of its pixels it would look a little different.
static int read_flags(const std::string &path, int side) {
    std::ifstream file(path, std::ios::binary);
    const auto number = [&] {
        const int high = file.get();
        return high * 256 + file.get();
    };
    bool is_plain_rgb = false;
    // Segment after segment, to the one that names the size.
    for (int marker = number() == 0xffd8 ? number() : 0; file && marker >> 8 == 0xff; marker = number()) {
        const int length = number(), code = marker & 0xff;
        if (code == 0xee && length >= 14) {
            // Adobe's programs note whether three colours are red, green and blue as they are.
            char noted[12] = {};
            file.read(noted, 12);
            is_plain_rgb = std::string(noted, 5) == "Adobe" && noted[11] == 0;
            file.ignore(length - 14);
            continue;
        }
        if (code < 0xc0 || code > 0xcf || code == 0xc4 || code == 0xc8 || code == 0xcc) {
            file.ignore(length - 2);
            continue;
        }
        file.ignore(1);
        const int height = number(), shorter = std::min(height, number());
        const int colours = file.get();
        // Those are decoded in full.
        if (colours != 1 && (colours != 3 || is_plain_rgb)) break;
        if (2 * shorter >= 8 * 3 * side) return cv::IMREAD_REDUCED_COLOR_8;
        if (2 * shorter >= 4 * 3 * side) return cv::IMREAD_REDUCED_COLOR_4;
        if (2 * shorter >= 2 * 3 * side) return cv::IMREAD_REDUCED_COLOR_2;
        break;
    }
    return cv::IMREAD_COLOR | cv::IMREAD_ANYDEPTH;
}

// An image file as the model wants it: float32 [1, 3, side, side], RGB in 0..1. The model normalises by itself.
static cv::Mat prepare(const std::string &path, int side) {
    // Applies the orientation that the camera has noted (not of WebP), and drops alpha.
    cv::Mat image = cv::imread(path, read_flags(path, side));
    if (image.empty()) throw std::runtime_error(path + " cannot be read");
    // OpenCV itself would cut 16 bits off to 8 instead of scaling them.
    if (image.depth() == CV_16U) image.convertTo(image, CV_8U, 1 / 257.0);
    if (image.depth() != CV_8U) throw std::runtime_error(path + " has neither 8 nor 16 bits a channel");
    // An odd margin is cut by half a pixel on both sides.
    const int width = image.cols, height = image.rows, square = std::min(width, height);
    const int across = CROP ? square : width, down = CROP ? square : height;
    const auto columns = weights((width - across) / 2.0, across, width, side);
    const auto rows = weights((height - down) / 2.0, down, height, side);
    const int size[] = {1, 3, side, side};
    cv::Mat input(4, size, CV_32F);
    std::vector<float> line(size_t(side) * width);
    for (int channel = 0; channel < 3; ++channel) {
        const int bgr = 2 - channel;
        // First vertically, then horizontally, and both passes round to bytes: the program does the same.
        for (int y = 0; y < side; ++y) {
            for (int x = 0; x < width; ++x) {
                float sum = 0;
                for (size_t i = 0; i < rows[y].factors.size(); ++i) {
                    sum += rows[y].factors[i] * image.ptr<unsigned char>(rows[y].from + int(i))[x * 3 + bgr];
                }
                line[size_t(y) * width + x] = rounded(sum);
            }
        }
        for (int y = 0; y < side; ++y) {
            for (int x = 0; x < side; ++x) {
                float sum = 0;
                for (size_t i = 0; i < columns[x].factors.size(); ++i) {
                    sum += columns[x].factors[i] * line[size_t(y) * width + columns[x].from + i];
                }
                input.ptr<float>(0, channel, y)[x] = rounded(sum) / 255;
            }
        }
    }
    return input;
}

int main(int count, char **arguments) {
    if (count < 3) {
        std::fprintf(stderr, "usage: %s BUNDLE IMAGE...\n", arguments[0]);
        return 2;
    }
    const std::string bundle = arguments[1];
    std::vector<std::string> labels;
    std::ifstream names(bundle + "/labels.txt");
    for (std::string name; std::getline(names, name);) labels.push_back(name);
    cv::dnn::Net net = cv::dnn::readNetFromONNX(bundle + "/model.onnx");
    const int side = @SIDE@;
    for (int index = 2; index < count; ++index) {
        net.setInput(prepare(arguments[index], side));
        const cv::Mat row = net.forward("probabilities").reshape(1, 1);
        std::vector<int> order(row.cols);
        std::iota(order.begin(), order.end(), 0);
        std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return row.at<float>(a) > row.at<float>(b); });
        std::printf("%s\n", arguments[index]);
        for (int place = 0; place < std::min(5, row.cols); ++place)
            std::printf("  %5.1f %%  %s\n", 100 * row.at<float>(order[place]), labels.at(order[place]).c_str());
    }
}
