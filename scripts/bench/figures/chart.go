package figures

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// Sizes of the chart and of the plot in it, in pixels.
const (
	width, height            = 800, 440
	left, right, top, bottom = 64, 240, 56, 64
)

// style reads well on light and dark pages. The hues are apart for the colour
// blind too (Okabe and Ito), and each line has a mark of its own shape besides.
const style = `
	svg { color: #1f2328; background: #ffffff; font: 13px system-ui, sans-serif; }
	.s0 { color: #0072b2 } .s1 { color: #3f9bd1 } .s2 { color: #007a5a } .s3 { color: #2fa883 }
	.s4 { color: #b34700 } .s5 { color: #a8508a } .s6 { color: #767000 }
	@media (prefers-color-scheme: dark) {
		svg { color: #e6edf3; background: #0d1117; }
		.s0 { color: #56b4e9 } .s1 { color: #9bd3f5 } .s2 { color: #2fc79b } .s3 { color: #8fe3c8 }
		.s4 { color: #ff9d4d } .s5 { color: #e59ac8 } .s6 { color: #f0e442 }
	}
	text { fill: currentColor } .title { font-weight: 600; font-size: 15px } .faint { opacity: .75 }
	.grid { stroke: currentColor; opacity: .18 } .axis { stroke: currentColor; opacity: .6 }
	.line { stroke: currentColor; fill: none; stroke-width: 2 }
	.mark { fill: currentColor }
`

// Chart draws the curves as an SVG: cost against the number of networks, both
// logarithmic.
func Chart(points []Point) string {
	c := chart{}
	most := 10.0
	for _, p := range points {
		if !slices.Contains(c.series, p.Series) {
			c.series = append(c.series, p.Series)
		}
		most = max(most, p.Cost)
	}
	for at := 0; c.most < most; at++ {
		c.most = tick(at)
	}
	c.put(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" role="img" aria-labelledby="title">`, width, height)
	c.put(`<title id="title">Cost of a dropped packet against the number of networks in the list</title><style>%s</style>`, style)
	c.text(left, 24, "title", "start", "Cost of a dropped packet, by length of the list")
	c.text(left, 42, "faint", "start", "receive side of a flood from a million sources, as a multiple of a bare XDP_DROP")
	c.axes()
	for i, series := range c.series {
		c.curve(i, series, points)
	}
	c.put("</svg>")
	return c.out.String()
}

type chart struct {
	out    strings.Builder
	series []string
	most   float64
}

func (c *chart) put(format string, args ...any) { fmt.Fprintf(&c.out, format+"\n", args...) }

func (c *chart) text(x, y float64, class, anchor, text string) {
	c.put(`<text x="%.1f" y="%.1f" class="%s" text-anchor="%s">%s</text>`, x, y, class, anchor, html.EscapeString(text))
}

// tick is 1, 2, 5, 10, 20 and so on.
func tick(at int) float64 { return []float64{1, 2, 5}[at%3] * math.Pow10(at/3) }

// x places a number of networks from 10 to 1,000,000.
func (c *chart) x(prefixes float64) float64 {
	return left + (math.Log10(prefixes)-1)/5*(width-left-right)
}

// y places a cost from 1.
func (c *chart) y(cost float64) float64 {
	return height - bottom - math.Log10(max(cost, 1))/math.Log10(c.most)*(height-top-bottom)
}

func (c *chart) axes() {
	for at := 0; tick(at) <= c.most; at++ {
		y := c.y(tick(at))
		c.put(`<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/>`, left, width-right, y, y)
		c.text(left-8, y+4, "", "end", fmt.Sprintf("%g×", tick(at)))
	}
	for prefixes := 10; prefixes <= 1_000_000; prefixes *= 10 {
		x := c.x(float64(prefixes))
		c.put(`<line class="grid" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>`, x, x, top, height-bottom)
		c.text(x, height-bottom+20, "", "middle", thousands(prefixes))
	}
	c.put(`<path class="axis" fill="none" d="M%d %dV%dH%d"/>`, left, top, height-bottom, width-right)
	c.text((left+width-right)/2, height-18, "", "middle", "networks in the list")
}

// curve draws one series and its line of the legend.
func (c *chart) curve(i int, series string, points []Point) {
	c.put(`<g class="s%d">`, i%7)
	path, pen := "", "M"
	for _, p := range points {
		if p.Series != series {
			continue
		}
		x, y := c.x(float64(p.Prefixes)), c.y(p.Cost)
		path += fmt.Sprintf("%s%.1f %.1f", pen, x, y)
		pen = "L"
		c.mark(i, x, y)
	}
	c.put(`<path class="line" d="%s"/>`, path)
	x, y := float64(width-right+18), float64(top+12+24*i)
	c.put(`<path class="line" d="M%.1f %.1fh26"/>`, x, y)
	c.mark(i, x+13, y)
	c.put("</g>")
	c.text(x+34, y+4, "", "start", series)
}

// mark is a circle, a square, a diamond or a triangle.
func (c *chart) mark(i int, x, y float64) {
	switch i % 4 {
	case 0:
		c.put(`<circle class="mark" cx="%.1f" cy="%.1f" r="4.2"/>`, x, y)
	case 1:
		c.put(`<path class="mark" d="M%.1f %.1fh8v8h-8z"/>`, x-4, y-4)
	case 2:
		c.put(`<path class="mark" d="M%.1f %.1fl5.4 5.4-5.4 5.4-5.4-5.4z"/>`, x, y-5.4)
	case 3:
		c.put(`<path class="mark" d="M%.1f %.1fl5 9h-10z"/>`, x, y-5.4)
	}
}

// thousands writes 100000 as 100,000.
func thousands(n int) string {
	text := fmt.Sprint(n)
	for at := len(text) - 3; at > 0; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}
