// Classifies images with the model of this bundle, by onnxruntime and ImageSharp (.NET 8 and later).
//
//     dotnet run -c Release -- ../.. IMAGE...

using System.Globalization;
using Microsoft.ML.OnnxRuntime;
using SixLabors.ImageSharp;
using SixLabors.ImageSharp.Formats.Jpeg;
using SixLabors.ImageSharp.PixelFormats;
using SixLabors.ImageSharp.Processing;

if (args.Length < 2)
{
    Console.Error.WriteLine("usage: classify BUNDLE IMAGE...");
    return 2;
}
string[] labels = File.ReadAllLines(Path.Combine(args[0], "labels.txt"));
using var session = new InferenceSession(Path.Combine(args[0], "model.onnx"));
using var options = new RunOptions();
int side = session.InputMetadata["images"].Dimensions[2];
foreach (string path in args.Skip(1))
{
    float[] pixels = Picture.Prepare(path, side);
    using var input = OrtValue.CreateTensorValueFromMemory(pixels, [1, 3, side, side]);
    using var outputs = session.Run(options, ["images"], [input], ["probabilities"]);
    float[] row = outputs[0].GetTensorDataAsSpan<float>().ToArray();
    Console.WriteLine(path);
    // This sort keeps the order of what is equal.
    foreach (int index in Enumerable.Range(0, row.Length).OrderByDescending(index => row[index]).Take(5))
    {
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"  {100 * row[index],5:F1} %  {labels[index]}"));
    }
}
return 0;

static class Picture
{
    /// <summary>Whether the model sees an image's largest centred square, or all of it, whatever its shape.</summary>
    const bool Crop = true;

    /// <summary>An image file as the model wants it: float32 [3, side, side], RGB in 0..1. The model normalises by itself.</summary>
    public static float[] Prepare(string path, int side)
    {
        // Drops alpha, and scales 16 bits to 8.
        using var image = Image.Load<Rgb24>(path);
        // Of a large JPEG the program has libjpeg decode only a half, a quarter or an eighth of each side: each pixel is about the mean of a block. Not so where colours are stored in another way than usual.
        int shorter = Math.Min(image.Width, image.Height), part = new[] { 8, 4, 2, 1 }.First(each => each == 1 || 2 * shorter >= 3 * each * side);
        if (part > 1 && Image.DetectFormat(path) is JpegFormat && $"{image.Metadata.GetJpegMetadata().ColorType}" is not ("Cmyk" or "Ycck" or "Rgb"))
        {
            var small = new Size((image.Width + part - 1) / part, (image.Height + part - 1) / part);
            image.Mutate(context => context.Resize(small.Width, small.Height, KnownResamplers.Box));
        }
        // A TIFF notes beside each of its images how that lies.
        image.Metadata.ExifProfile ??= image.Frames.RootFrame.Metadata.ExifProfile;
        image.Mutate(context => context.AutoOrient());
        int width = image.Width, height = image.Height, square = Math.Min(width, height);
        var bytes = new byte[3 * width * height];
        image.CopyPixelDataTo(bytes);
        // An odd margin is cut by half a pixel on both sides.
        int across = Crop ? square : width, down = Crop ? square : height;
        var columns = Weights((width - across) / 2.0, across, width, side);
        var rows = Weights((height - down) / 2.0, down, height, side);
        var input = new float[3 * side * side];
        var line = new float[width];
        for (int channel = 0, to = 0; channel < 3; channel++)
        {
            foreach (var row in rows)
            {
                // First vertically, then horizontally, and both passes round to bytes: the program does the same.
                for (int x = 0; x < width; x++)
                {
                    float sum = 0;
                    for (int i = 0; i < row.Factors.Length; i++)
                    {
                        sum += row.Factors[i] * bytes[((row.From + i) * width + x) * 3 + channel];
                    }
                    line[x] = Rounded(sum);
                }
                foreach (var column in columns)
                {
                    float sum = 0;
                    for (int i = 0; i < column.Factors.Length; i++)
                    {
                        sum += column.Factors[i] * line[column.From + i];
                    }
                    input[to++] = Rounded(sum) / 255;
                }
            }
        }
        return input;
    }

    // Halves go up as in integers, even if a sum of fractions falls a little short of one: in black and white there are many.
    static float Rounded(float value) => Math.Clamp(MathF.Round(value + 0.001f, MidpointRounding.AwayFromZero), 0, 255);

    /// <summary>Which pixels make each of `to` pixels out of `length` ones from `start` on, by a triangle filter with antialiasing.</summary>
    static (int From, float[] Factors)[] Weights(double start, double length, int limit, int to)
    {
        double scale = length / to, support = Math.Max(1, scale);
        return Enumerable.Range(0, to).Select(index =>
        {
            double centre = start + (index + 0.5) * scale;
            int from = Math.Max(0, (int)Math.Floor(centre - support + 0.5));
            int until = Math.Min(limit, (int)Math.Floor(centre + support + 0.5));
            var factors = Enumerable.Range(from, until - from).Select(at => Math.Max(0, 1 - Math.Abs(at + 0.5 - centre) / support)).ToArray();
            double sum = factors.Sum();
            return (from, factors.Select(factor => (float)(factor / sum)).ToArray());
        }).ToArray();
    }
}
