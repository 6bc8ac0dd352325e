"""The napari plugin: the only room that knows Qt, magicgui and napari."""
