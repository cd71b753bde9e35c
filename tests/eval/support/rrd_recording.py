"""Reads recordings for Rerun with Rerun's own reader."""

import io

import numpy as np
from PIL import Image
from rerun.chunk import RrdReader


class Recording:
    """The content of a file: for each entity, its steps and a list of its values for each component."""

    def __init__(self, path):
        reader = RrdReader(path)
        (self.store,) = reader.recordings()
        self.has_layout = len(reader.blueprints()) == 1
        self.steps, self.times, self.values = {}, {}, {}
        for chunk in reader.stream(store=self.store):
            self._add(chunk.entity_path, chunk.to_record_batch(), chunk.is_static)

    def _add(self, path, batch, is_static):
        for name in batch.schema.names:
            column = batch.column(name)
            if name == "step":
                self.steps.setdefault(path, []).extend(column.to_pylist())
            elif name == "time":
                self.times.setdefault(path, []).extend(value.total_seconds() for value in column.to_pylist())
            elif name != "rerun.controls.RowId":
                self.values.setdefault(path, {}).setdefault(name, []).extend(column.to_pylist())
        assert is_static or batch.schema.names[1:3] == ["step", "time"]  # and not the time of writing

    def numbers(self, path):
        """Returns the lines of an entity, (T, size)."""
        return np.array(self.values[path]["Scalars:scalars"])

    def texts(self, path, kind="TextLog"):
        return [text for (text,) in self.values[path][f"{kind}:text"]]

    def pictures(self, path):
        files = self.values[path]["EncodedImage:blob"]
        assert self.values[path]["EncodedImage:media_type"] == [["image/png"]] * len(files)
        return [np.asarray(Image.open(io.BytesIO(bytes(file)))) for (file,) in files]

    def arrays(self, path):
        return [np.reshape(each["buffer"], each["shape"]) for (each,) in self.values[path]["Tensor:data"]]

    @property
    def about(self):
        """The property `episode`."""
        return {name: value for name, ((value,),) in self.values["/__properties/episode"].items()}
