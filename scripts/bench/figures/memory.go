package figures

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Sample is one of a curve of memory: what a process held after so many of what
// the series counts.
type Sample struct {
	Series   string  `json:"series"`
	Done     int     `json:"done"`
	Resident float64 `json:"resident"` // MiB
}

// Memory draws the curves as an SVG, both axes linear and from zero.
func Memory(samples []Sample) string {
	c := chart{}
	most, last := 10.0, 1
	for _, s := range samples {
		if !slices.Contains(c.series, s.Series) {
			c.series = append(c.series, s.Series)
		}
		most, last = max(most, s.Resident), max(last, s.Done)
	}
	c.most = math.Ceil(most/20) * 20
	c.put(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" role="img" aria-labelledby="title">`, width, height)
	c.put(`<title id="title">Memory of the daemon over a million calls, and over a million garbage datagrams</title><style>%s</style>`, style)
	c.text(left, 24, "title", "start", "Memory of the daemon under load")
	c.text(left, 42, "faint", "start", "resident, MiB, records and all; datagrams come from as many sources")
	c.linear(last)
	for i, series := range c.series {
		c.flow(i, series, last, samples)
	}
	c.put("</svg>")
	return c.out.String()
}

// along places a count, up places MiB.
func along(done, last int) float64 {
	return left + float64(done)/float64(last)*(width-left-right)
}

func (c *chart) up(resident float64) float64 {
	return height - bottom - resident/c.most*(height-top-bottom)
}

// linear draws the axes.
func (c *chart) linear(last int) {
	for at := 0.0; at <= c.most; at += c.most / 4 {
		y := c.up(at)
		c.put(`<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/>`, left, width-right, y, y)
		c.text(left-8, y+4, "", "end", fmt.Sprintf("%g", at))
	}
	for n := range 5 {
		x := along(n*last/4, last)
		c.put(`<line class="grid" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>`, x, x, top, height-bottom)
		c.text(x, height-bottom+20, "", "middle", thousands(n*last/4))
	}
	c.put(`<path class="axis" fill="none" d="M%d %dV%dH%d"/>`, left, top, height-bottom, width-right)
	c.text((left+width-right)/2, height-18, "", "middle", "calls, or datagrams")
}

// flow draws one series and its line of the legend.
func (c *chart) flow(i int, series string, last int, samples []Sample) {
	hue := 4 * i // two hues that are far apart
	c.put(`<g class="s%d">`, hue%7)
	var path strings.Builder
	pen := "M"
	for _, s := range samples {
		if s.Series == series {
			fmt.Fprintf(&path, "%s%.1f %.1f", pen, along(s.Done, last), c.up(s.Resident))
			pen = "L"
		}
	}
	c.put(`<path class="line" d="%s"/>`, path.String())
	x, y := float64(width-right+18), float64(top+12+24*i)
	c.put(`<path class="line" d="M%.1f %.1fh26"/>`, x, y)
	c.put("</g>")
	c.text(x+34, y+4, "", "start", series)
}
